package schema_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/crd/schema"
)

// The messages are those of kube-apiserver 1.36.
func TestDecodeErrors(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	deployment := compileBuiltin(t, "io.k8s.api.apps.v1.Deployment", "Deployment")
	secret := compileBuiltin(t, "io.k8s.api.core.v1.Secret", "Secret")
	const quantity = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
	tests := []struct {
		name   string
		c      *schema.Compiled
		object string
		path   string
		want   string
	}{
		{"list", pod, `{"spec":{"containers":"x"}}`, "spec.containers", "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"},
		{"string", pod, `{"spec":{"containers":[{"name":3}]}}`, "spec.containers[0].name", "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string"},
		{"metadata", pod, `{"metadata":{"name":5}}`, "metadata.name", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"},
		{"label", pod, `{"metadata":{"labels":{"a":1}}}`, "metadata.labels.a", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"},
		{"boolean", pod, `{"spec":{"hostNetwork":"yes"}}`, "spec.hostNetwork", "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"},
		{"int32 overflow", pod, `{"spec":{"containers":[{"ports":[{"containerPort":99999999999}]}]}}`, "spec.containers[0].ports[0].containerPort", "json: cannot unmarshal number 99999999999 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"},
		{"fraction", pod, `{"spec":{"containers":[{"ports":[{"containerPort":1.5}]}]}}`, "spec.containers[0].ports[0].containerPort", "json: cannot unmarshal number 1.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"},
		{"quantity", pod, `{"spec":{"containers":[{"resources":{"limits":{"cpu":"foo"}}}]}}`, "spec.containers[0].resources.limits.cpu", quantity},
		{"quantity type", pod, `{"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}}`, "spec.containers[0].resources.limits.cpu", quantity},
		{"time", pod, `{"metadata":{"creationTimestamp":"x"}}`, "metadata.creationTimestamp", `parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"`},
		{"struct", pod, `{"spec":"x"}`, "spec", "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"},
		{"metadata struct", pod, `{"metadata":[]}`, "metadata", "json: cannot unmarshal array into Go struct field Pod.metadata of type v1.ObjectMeta"},
		{"bytes", secret, `{"data":{"a":"%%%"}}`, "data.a", "illegal base64 data at input byte 0"},
		{"replicas", deployment, `{"spec":{"replicas":"3"}}`, "spec.replicas", "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
		{"nested list", deployment, `{"spec":{"template":{"spec":{"containers":[{"env":{}}]}}}}`, "spec.template.spec.containers[0].env", "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.env of type []v1.EnvVar"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.c.Normalize(tree(t, tt.object))
			var decode *schema.DecodeError
			if !errors.As(err, &decode) {
				t.Fatalf("got %v, want a DecodeError", err)
			}
			if decode.Path != tt.path || decode.Message != tt.want {
				t.Errorf("got  %s: %s\nwant %s: %s", decode.Path, decode.Message, tt.path, tt.want)
			}
		})
	}
}

func TestNormalize(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	tests := []struct {
		name, object, want string
		unknown            []string
	}{
		{"unknown fields", `{"metadata":{"name":"a","foo":1},"spec":{"x":1,"containers":[{"y":1}],"volumes":[{"z":1}]},"bar":{}}`,
			`{"metadata":{"name":"a"},"spec":{"containers":[{}],"volumes":[{}]}}`,
			[]string{"bar", "metadata.foo", "spec.containers[0].y", "spec.volumes[0].z", "spec.x"}},
		{"nulls", `{"metadata":{"creationTimestamp":null,"labels":{"a":null}},"spec":{"containers":[null,{"args":[null],"env":null}],"nodeSelector":null}}`,
			`{"metadata":{"labels":{"a":""}},"spec":{"containers":[{},{"args":[""]}]}}`, nil},
		{"quantities", `{"spec":{"overhead":{"cpu":1,"memory":"1024Mi","a":0.5,"b":"1000m","c":"0.1","d":"1e3"}}}`,
			`{"spec":{"overhead":{"a":"500m","b":"1","c":"100m","cpu":"1","d":"1e3","memory":"1Gi"}}}`, nil},
		{"times", `{"metadata":{"creationTimestamp":"2026-01-02T03:04:05+01:00"},"status":{"startTime":"2026-12-31T23:59:59.5Z"}}`,
			`{"metadata":{"creationTimestamp":"2026-01-02T02:04:05Z"},"status":{"startTime":"2026-12-31T23:59:59Z"}}`, nil},
		{"int or string", `{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}}},{"livenessProbe":{"httpGet":{"port":80}}}]}}`,
			`{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}}},{"livenessProbe":{"httpGet":{"port":80}}}]}}`, nil},
		{"managed fields", `{"metadata":{"managedFields":[{"fieldsV1":{"f:spec":{"f:x":{}}},"time":"2026-01-02T03:04:05Z"}]}}`,
			`{"metadata":{"managedFields":[{"fieldsV1":{"f:spec":{"f:x":{}}},"time":"2026-01-02T03:04:05Z"}]}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object := tree(t, tt.object)
			unknown, err := pod.Normalize(object)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, object); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !slices.Equal(unknown, tt.unknown) {
				t.Errorf("unknown %v, want %v", unknown, tt.unknown)
			}
		})
	}
}

func TestBuiltinDefaults(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	object := podTree(t)
	// An empty string is as good as none.
	object["spec"].(map[string]any)["restartPolicy"] = ""
	pod.Default(object)
	spec := object["spec"].(map[string]any)
	web := spec["containers"].([]any)[0].(map[string]any)
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"restartPolicy", spec["restartPolicy"], "Always"},
		{"dnsPolicy", spec["dnsPolicy"], "ClusterFirst"},
		{"terminationGracePeriodSeconds", spec["terminationGracePeriodSeconds"], int64(30)},
		{"securityContext", text(t, spec["securityContext"]), "{}"},
		{"protocol", web["ports"].([]any)[0].(map[string]any)["protocol"], "TCP"},
		{"failureThreshold", web["readinessProbe"].(map[string]any)["failureThreshold"], int64(3)},
		{"given periodSeconds", web["readinessProbe"].(map[string]any)["periodSeconds"], int64(5)},
		{"defaultMode", spec["volumes"].([]any)[0].(map[string]any)["configMap"].(map[string]any)["defaultMode"], int64(420)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	once := runtime.DeepCopyJSON(object)
	pod.Default(object)
	if !equalJSON(object, once) {
		t.Error("defaults are not idempotent")
	}
	if errs := pod.Validate(context.Background(), object, nil); len(errs) > 0 {
		t.Errorf("a defaulted pod is refused: %v", errs)
	}
}

func TestBuiltinEnum(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	object := podTree(t)
	container := object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["imagePullPolicy"] = "Sometimes"
	errs := pod.Validate(context.Background(), object, nil)
	const want = `spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`
	if len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("got %v, want %s", errs, want)
	}
}

// Defaults must not be shared between objects.
func TestDefaultsAreCopied(t *testing.T) {
	c := compile(t, `{"type":"object","properties":{"spec":{"type":"object","default":{"list":[{"a":1}]},"x-kubernetes-preserve-unknown-fields":true}}}`)
	one, two := map[string]any{}, map[string]any{}
	c.Default(one)
	c.Default(two)
	one["spec"].(map[string]any)["list"].([]any)[0].(map[string]any)["a"] = "changed"
	if got := text(t, two); got != `{"spec":{"list":[{"a":1}]}}` {
		t.Errorf("a change of one object is seen in another: %s", got)
	}
}

func TestQuantitiesAreCanonical(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{1,5}(000)?(\.[0-9]{1,3})?(m|k|M|G|Ki|Mi|Gi|Ti|Pi|E|u|n|e3|E-2)?`).Draw(t, "quantity")
		object := map[string]any{"spec": map[string]any{"overhead": map[string]any{"cpu": s}}}
		_, err := pod.Normalize(object)
		q, wantErr := resource.ParseQuantity(s)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: got error %v, want %v", s, err, wantErr)
		}
		if err != nil {
			return
		}
		if got := object["spec"].(map[string]any)["overhead"].(map[string]any)["cpu"]; got != q.String() {
			t.Fatalf("%q became %q, want %q", s, got, q.String())
		}
	})
}

func TestTimesAreCanonical(t *testing.T) {
	pod := compileBuiltin(t, "io.k8s.api.core.v1.Pod", "Pod")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,3})?(Z|\+01:00)`).Draw(t, "time")
		object := map[string]any{"metadata": map[string]any{"creationTimestamp": s}}
		_, err := pod.Normalize(object)
		parsed, wantErr := time.Parse(time.RFC3339, s)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: got error %v, want %v", s, err, wantErr)
		}
		if err != nil {
			return
		}
		b, _ := metav1.NewTime(parsed).MarshalJSON()
		if got := object["metadata"].(map[string]any)["creationTimestamp"]; got != strings.Trim(string(b), `"`) {
			t.Fatalf("%q became %q, want %s", s, got, b)
		}
	})
}
