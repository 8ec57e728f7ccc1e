package kubeapi_test

import (
	"reflect"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

const autoscalerV2 = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a, annotations: {mine: "1"}}
spec:
  maxReplicas: 3
  minReplicas: 1
  scaleTargetRef: {kind: Deployment, name: d, apiVersion: apps/v1}
  behavior: {scaleUp: {selectPolicy: Max, stabilizationWindowSeconds: 7}}
  metrics:
  - {type: Pods, pods: {metric: {name: m, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: "5"}}}
  - {type: Object, object: {describedObject: {kind: Service, name: s}, metric: {name: m}, target: {type: Value, value: "2"}}}
  - {type: External, external: {metric: {name: m}, target: {type: AverageValue, averageValue: "2"}}}
  - {type: ContainerResource, containerResource: {name: memory, container: c, target: {type: Utilization, averageUtilization: 60}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
status:
  currentReplicas: 2
  desiredReplicas: 2
  conditions: [{type: AbleToScale, status: "True"}]
  currentMetrics:
  - {type: Pods, pods: {metric: {name: m}, current: {averageValue: "4"}}}
  - {type: Resource, resource: {name: cpu, current: {averageUtilization: 40}}}
`

// An autoscaler can be read and written in both versions and loses nothing on the way.
func TestAutoscalerVersions(t *testing.T) {
	group := runtimeschema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}
	c, ok := bundle.Hooks(group).(interface {
		Convert(map[string]any, runtimeschema.GroupVersionKind) (map[string]any, error)
	})
	if !ok {
		t.Fatal("autoscalers are not converted")
	}
	to := func(version string, o map[string]any) map[string]any {
		out, err := c.Convert(o, runtimeschema.GroupVersionKind{Group: "autoscaling", Version: version, Kind: "HorizontalPodAutoscaler"})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := parse(t, autoscalerV2)
	v1 := to("v1", parse(t, autoscalerV2))
	spec, _ := v1["spec"].(map[string]any)
	status, _ := v1["status"].(map[string]any)
	if v1["apiVersion"] != "autoscaling/v1" || spec["targetCPUUtilizationPercentage"] != int64(50) || status["currentCPUUtilizationPercentage"] != int64(40) || spec["metrics"] != nil {
		t.Errorf("%v", v1)
	}
	if got := to("v2", v1); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	typ := typeOf(t, map[string]any{"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"})
	bad := parse(t, "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {maxReplicas: 0, targetCPUUtilizationPercentage: 5}}")
	if err := write(t, typ, newRequest(typ, bad, nil, "")); err == nil {
		t.Error("an autoscaler of v1 is not validated")
	}
}
