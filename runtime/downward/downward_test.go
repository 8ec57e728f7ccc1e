package downward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var pod = &corev1.Pod{
	ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Labels: map[string]string{"b": "2", "a": `x"y`}, Annotations: map[string]string{"k/e": "v"}},
	Spec: corev1.PodSpec{ServiceAccountName: "sa", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{"cpu": resource.MustParse("1500m")},
		Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("64Mi")},
	}}}},
}

var facts = Facts{NodeName: "node", HostIP: "1.1.1.1", PodIPs: []string{"10.0.0.1", "fd::1"}, Allocatable: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}

func TestField(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "n", "metadata.uid": "u", "metadata.labels": "a=\"x\\\"y\"\nb=\"2\"",
		"metadata.labels['b']": "2", "metadata.labels['none']": "", "metadata.annotations['k/e']": "v", "spec.nodeName": "node",
		"spec.serviceAccountName": "sa", "status.hostIP": "1.1.1.1", "status.podIP": "10.0.0.1", "status.podIPs": "10.0.0.1,fd::1",
	} {
		if got, err := Field(pod, path, facts); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"spec.containers", "metadata.name['x']", ""} {
		if _, err := Field(pod, path, facts); err == nil {
			t.Errorf("%q gave no error", path)
		}
	}
}

func TestResource(t *testing.T) {
	for _, c := range []struct{ resource, divisor, want string }{
		{"limits.cpu", "", "2"}, {"limits.cpu", "1m", "1500"}, {"requests.cpu", "1m", "250"},
		{"requests.memory", "1Mi", "64"}, {"limits.memory", "1Mi", "1024"}, {"requests.memory", "100Mi", "1"},
	} {
		sel := &corev1.ResourceFieldSelector{Resource: c.resource}
		if c.divisor != "" {
			sel.Divisor = resource.MustParse(c.divisor)
		}
		if got, err := Resource(pod, "c", sel, facts); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	for _, sel := range []*corev1.ResourceFieldSelector{{Resource: "cpu"}, {Resource: "limits.cpu", ContainerName: "none"}} {
		if _, err := Resource(pod, "c", sel, facts); err == nil {
			t.Errorf("%+v gave no error", sel)
		}
	}
}
