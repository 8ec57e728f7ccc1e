package podautoscaler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/podautoscaler"
	"github.com/pintle-dev/pintle/plugins/workloads/scale"
)

// world is a target with a scale, and what a metrics server says of its pods.
type world struct {
	spec, status int32
	cpu          map[string]string // by pod; nil is no metrics server
	custom       string            // the value of any custom or external metric
	missing      error
	mu           sync.Mutex
}

// load sets what the pods use.
func (w *world) load(cpu map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cpu = cpu
}

// now returns the number of replicas asked for.
func (w *world) now() int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spec
}

func (w *world) Get(context.Context, scale.Target) (*autoscalingv1.Scale, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missing != nil {
		return nil, w.missing
	}
	return &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: w.spec}, Status: autoscalingv1.ScaleStatus{Replicas: w.status, Selector: "app=a"}}, nil
}

func (w *world) Update(_ context.Context, _ scale.Target, s *autoscalingv1.Scale) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spec = s.Spec.Replicas
	return nil
}

func (w *world) read(_ context.Context, _ map[string]string, path ...string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	whole := strings.Join(path, "/")
	if strings.Contains(whole, "/metrics.k8s.io/") {
		if w.cpu == nil {
			return nil, errors.New("the server could not find the requested resource (get pods.metrics.k8s.io)")
		}
		var items []any
		for name, value := range w.cpu {
			items = append(items, map[string]any{
				"metadata": map[string]any{"name": name}, "timestamp": time.Now().UTC().Format(time.RFC3339), "window": "30s",
				"containers": []any{map[string]any{"name": "c", "usage": map[string]any{"cpu": value}}},
			})
		}
		return json.Marshal(map[string]any{"items": items})
	}
	if w.custom == "" {
		return nil, errors.New("no such metric")
	}
	return json.Marshal(map[string]any{"items": []any{map[string]any{"value": w.custom, "describedObject": map[string]any{"name": "p0"}}}})
}

func pods(n int, phase v1.PodPhase) []runtime.Object {
	var out []runtime.Object
	for i := range n {
		started := metav1.NewTime(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
		out = append(out, &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), Namespace: "default", Labels: map[string]string{"app": "a"}},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")}}}}},
			Status: v1.PodStatus{Phase: phase, StartTime: &started, Conditions: []v1.PodCondition{
				{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: started},
			}},
		})
	}
	return out
}

// use is what each of n pods uses.
func use(n int, value string) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprint("p", i)] = value
	}
	return out
}

func quantity(s string) *resource.Quantity { return ptr.To(resource.MustParse(s)) }

func cpuAt(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: v1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
	}}
}

func external(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: target,
	}}
}

func scaler(least, most int32, specs ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "h", Namespace: "default", Generation: 1},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"},
			MinReplicas:    &least, MaxReplicas: most, Metrics: specs,
		},
	}
}

func run(t *testing.T, w *world, hpa *autoscalingv2.HorizontalPodAutoscaler, objects []runtime.Object, body func(e *controltest.Env)) {
	t.Helper()
	build := func(kit control.Kit) ([]controltest.Runner, error) {
		c, err := podautoscaler.New(kit, podautoscaler.Options{Scales: w, Metrics: w.read})
		return []controltest.Runner{c}, err
	}
	controltest.Run(t, append(objects, hpa), build, body)
}

func conditions(e *controltest.Env) string {
	h := controltest.Get(e, e.Client.AutoscalingV2().HorizontalPodAutoscalers("default"), "h")
	var out []string
	for _, c := range h.Status.Conditions {
		out = append(out, fmt.Sprintf("%s=%s(%s)", c.Type, c.Status, c.Reason))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestScales(t *testing.T) {
	fine := "AbleToScale=True(SucceededRescale) ScalingActive=True(ValidMetricFound) ScalingLimited=False(DesiredWithinRange)"
	still := "AbleToScale=True(ReadyForNewScale) ScalingActive=True(ValidMetricFound) ScalingLimited=False(DesiredWithinRange)"
	tests := []struct {
		name       string
		w          *world
		hpa        *autoscalingv2.HorizontalPodAutoscaler
		pods       []runtime.Object
		want       int32
		conditions string
		event      string
	}{
		{"up", &world{spec: 3, status: 3, cpu: use(3, "90m")}, scaler(1, 10, cpuAt(50)), pods(3, v1.PodRunning), 6, fine, "Normal SuccessfulRescale New size: 6; reason: cpu resource utilization (percentage of request) above target"},
		{"within the tolerance", &world{spec: 3, status: 3, cpu: use(3, "52m")}, scaler(1, 10, cpuAt(50)), pods(3, v1.PodRunning), 3, still, ""},
		{"not down at once", &world{spec: 3, status: 3, cpu: use(3, "10m")}, scaler(1, 10, cpuAt(50)), pods(3, v1.PodRunning), 3, "AbleToScale=True(ScaleDownStabilized) ScalingActive=True(ValidMetricFound) ScalingLimited=False(DesiredWithinRange)", ""},
		{"to the most", &world{spec: 3, status: 3, cpu: use(3, "100m")}, scaler(1, 5, cpuAt(50)), pods(3, v1.PodRunning), 5, "AbleToScale=True(SucceededRescale) ScalingActive=True(ValidMetricFound) ScalingLimited=True(TooManyReplicas)", ""},
		{"no faster than double", &world{spec: 3, status: 3, cpu: use(3, "400m")}, scaler(1, 100, cpuAt(50)), pods(3, v1.PodRunning), 6, "AbleToScale=True(SucceededRescale) ScalingActive=True(ValidMetricFound) ScalingLimited=True(ScaleUpLimit)", ""},
		{"above the bounds", &world{spec: 8, status: 8}, scaler(1, 5, cpuAt(50)), pods(3, v1.PodRunning), 5, "AbleToScale=True(SucceededRescale)", "Normal SuccessfulRescale New size: 5; reason: Current number of replicas above Spec.MaxReplicas"},
		{"below the bounds", &world{spec: 1, status: 1}, scaler(2, 5, cpuAt(50)), pods(3, v1.PodRunning), 2, "AbleToScale=True(SucceededRescale)", "Normal SuccessfulRescale New size: 2; reason: Current number of replicas below Spec.MinReplicas"},
		{"switched off", &world{spec: 0}, scaler(1, 5, cpuAt(50)), nil, 0, "AbleToScale=True(SucceededGetScale) ScalingActive=False(ScalingDisabled)", ""},
		{"no metrics server", &world{spec: 3, status: 3}, scaler(1, 5, cpuAt(50)), pods(3, v1.PodRunning), 3, "AbleToScale=True(SucceededGetScale) ScalingActive=False(FailedGetResourceMetric)",
			"Warning FailedGetResourceMetric failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"},
		{"no target", &world{missing: errors.New(`deployments.apps "d" not found`)}, scaler(1, 5, cpuAt(50)), nil, 0, "AbleToScale=False(FailedGetScale)", `Warning FailedGetScale deployments.apps "d" not found`},
		{"no requests", &world{spec: 1, status: 1, cpu: use(1, "90m")}, scaler(1, 5, cpuAt(50)), func() []runtime.Object {
			list := pods(1, v1.PodRunning)
			list[0].(*v1.Pod).Spec.Containers[0].Resources = v1.ResourceRequirements{}
			return list
		}(), 1, "AbleToScale=True(SucceededGetScale) ScalingActive=False(FailedGetResourceMetric)", "Warning FailedGetResourceMetric failed to get cpu utilization: missing request for cpu in container c of Pod p0"},
		{"up, with pods that have said nothing", &world{spec: 4, status: 4, cpu: use(2, "100m")}, scaler(1, 10, cpuAt(40)), pods(4, v1.PodRunning), 5, fine, ""},
		{"a share for each pod of a value from outside", &world{spec: 2, status: 2, custom: "30"}, scaler(1, 10, external(autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("10")})), pods(2, v1.PodRunning), 3, fine, ""},
		{"a value from outside", &world{spec: 2, status: 2, custom: "30"}, scaler(1, 10, external(autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity("20")})), pods(2, v1.PodRunning), 3, fine, ""},
		{"one metric of two is there, and asks for more", &world{spec: 2, status: 2, custom: "40"}, scaler(1, 10, cpuAt(50), external(autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("10")})), pods(2, v1.PodRunning), 4, fine, ""},
		{"one metric of two is there, and asks for less", &world{spec: 2, status: 2, custom: "1"}, scaler(1, 10, cpuAt(50), external(autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity("10")})), pods(2, v1.PodRunning), 2, "AbleToScale=True(SucceededGetScale) ScalingActive=False(FailedGetResourceMetric)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, tt.w, tt.hpa, tt.pods, func(e *controltest.Env) {
				if tt.w.now() != tt.want || conditions(e) != tt.conditions {
					e.Errorf("%d replicas, %s", tt.w.now(), conditions(e))
				}
				if events := e.Events(); tt.event != "" && !slices.Contains(events, tt.event) {
					e.Errorf("events: %q", events)
				}
			})
		})
	}
}

func TestGoesDownWhenItHasBeenCalm(t *testing.T) {
	w := &world{spec: 4, status: 4, cpu: use(4, "10m")}
	run(t, w, scaler(1, 10, cpuAt(50)), pods(4, v1.PodRunning), func(e *controltest.Env) {
		e.Pass(4 * time.Minute)
		if w.now() != 4 {
			e.Errorf("%d replicas after four minutes", w.now())
		}
		e.Pass(2 * time.Minute)
		if w.now() != 1 {
			e.Errorf("%d replicas after six minutes", w.now())
		}
	})
}

func TestBehavior(t *testing.T) {
	hpa := scaler(1, 100, cpuAt(50))
	rules := func(window int32, choose autoscalingv2.ScalingPolicySelect, policies ...autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
		return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &choose, Policies: policies}
	}
	podsPer := func(n, seconds int32) autoscalingv2.HPAScalingPolicy {
		return autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	percentPer := func(n, seconds int32) autoscalingv2.HPAScalingPolicy {
		return autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp:   rules(0, autoscalingv2.MinChangePolicySelect, podsPer(2, 60), percentPer(100, 60)),
		ScaleDown: rules(0, autoscalingv2.MaxChangePolicySelect, podsPer(1, 60)),
	}
	w := &world{spec: 4, status: 4, cpu: use(4, "500m")}
	run(t, w, hpa, pods(4, v1.PodRunning), func(e *controltest.Env) {
		if w.now() != 6 {
			e.Errorf("%d replicas at first: two pods a minute are allowed", w.now())
		}
		e.Pass(40 * time.Second)
		if w.now() != 6 {
			e.Errorf("%d replicas within the minute", w.now())
		}
		e.Pass(40 * time.Second)
		if w.now() != 8 {
			e.Errorf("%d replicas after it", w.now())
		}
		w.load(use(4, "1m"))
		e.Pass(30 * time.Second)
		// One pod a minute may go, counted from the six that there were a minute ago.
		if w.now() != 5 {
			e.Errorf("%d replicas when it has become quiet", w.now())
		}
	})
}

func TestTwoOfOnePodSet(t *testing.T) {
	other := scaler(1, 10, cpuAt(50))
	other.Name = "other"
	w := &world{spec: 3, status: 3, cpu: use(3, "90m")}
	run(t, w, scaler(1, 10, cpuAt(50)), append(pods(3, v1.PodRunning), other), func(e *controltest.Env) {
		e.Pass(20 * time.Second)
		if got := conditions(e); !strings.Contains(got, "ScalingActive=False(AmbiguousSelector)") {
			e.Error(got)
		}
	})
}
