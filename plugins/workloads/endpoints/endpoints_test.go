package endpoints_test

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/endpoints"
)

var build = controltest.All(controltest.One(endpoints.NewEndpoints), controltest.One(endpoints.NewSlices))

func service(change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "default", UID: "s", Labels: map[string]string{"l": "v"}},
		Spec: v1.ServiceSpec{
			Selector: map[string]string{"app": "a"}, Type: v1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"},
			IPFamilies: []v1.IPFamily{v1.IPv4Protocol},
			Ports:      []v1.ServicePort{{Name: "http", Port: 80, Protocol: v1.ProtocolTCP, TargetPort: intstr.FromString("web")}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func pod(i int, ready bool, port int32) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), Namespace: "default", UID: types.UID(fmt.Sprint("p", i)), Labels: map[string]string{"app": "a"}},
		Spec:       v1.PodSpec{NodeName: "n", Containers: []v1.Container{{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: port, Protocol: v1.ProtocolTCP}}}}},
		Status:     v1.PodStatus{Phase: v1.PodRunning, PodIP: fmt.Sprint("10.1.0.", i), PodIPs: []v1.PodIP{{IP: fmt.Sprint("10.1.0.", i)}}},
	}
	if ready {
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	}
	return p
}

var here = &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}

func text(e *controltest.Env) string {
	ep, err := e.Client.CoreV1().Endpoints("default").Get(e.Ctx, "s", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "none"
	}
	if err != nil {
		e.Fatal(err)
	}
	out := ""
	for _, s := range ep.Subsets {
		for _, a := range s.Addresses {
			out += a.IP + " "
		}
		for _, a := range s.NotReadyAddresses {
			out += "(" + a.IP + ") "
		}
		for _, p := range s.Ports {
			out += fmt.Sprintf("%s:%d; ", p.Name, p.Port)
		}
	}
	return out
}

func TestEndpoints(t *testing.T) {
	headless := func(s *v1.Service) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ClusterIPNone, []string{v1.ClusterIPNone}
	}
	tests := []struct {
		name    string
		objects []runtime.Object
		want    string
	}{
		{"ready and not", []runtime.Object{service(), pod(2, true, 8080), pod(1, true, 8080), pod(3, false, 8080)}, "10.1.0.1 10.1.0.2 (10.1.0.3) http:8080; "},
		{"a named port that differs", []runtime.Object{service(), pod(1, true, 8080), pod(2, true, 9090)}, "10.1.0.1 http:8080; 10.1.0.2 http:9090; "},
		{"no pods", []runtime.Object{service()}, ""},
		{"no selector", []runtime.Object{service(func(s *v1.Service) { s.Spec.Selector = nil }), pod(1, true, 8080)}, "none"},
		{"external name", []runtime.Object{service(func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeExternalName }), pod(1, true, 8080)}, "none"},
		{"not ready is published", []runtime.Object{service(func(s *v1.Service) { s.Spec.PublishNotReadyAddresses = true }), pod(1, false, 8080)}, "10.1.0.1 http:8080; "},
		{"headless", []runtime.Object{service(headless, func(s *v1.Service) { s.Spec.Ports = nil }), pod(1, true, 8080)}, "10.1.0.1 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, append(tt.objects, here), build, func(e *controltest.Env) {
				if got := text(e); got != tt.want {
					e.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestSlicesFollowThePods(t *testing.T) {
	addresses := func(e *controltest.Env) map[string]bool {
		list, err := e.Client.DiscoveryV1().EndpointSlices("default").List(e.Ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=s"})
		if err != nil {
			e.Fatal(err)
		}
		out := map[string]bool{}
		for _, s := range list.Items {
			for _, ep := range s.Endpoints {
				out[ep.Addresses[0]] = *ep.Conditions.Ready
			}
		}
		return out
	}
	controltest.Run(t, []runtime.Object{here, service(), pod(1, true, 8080), pod(2, false, 8080)}, build, func(e *controltest.Env) {
		if got := addresses(e); fmt.Sprint(got) != "map[10.1.0.1:true 10.1.0.2:false]" {
			e.Errorf("at first: %v", got)
		}
		p := pod(2, true, 8080)
		p.ResourceVersion = "2"
		controltest.UpdateStatus(e, e.Client.CoreV1().Pods("default"), p)
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "p1")
		e.Pass(time.Second) // for a retry where the cache lags behind
		if got := addresses(e); fmt.Sprint(got) != "map[10.1.0.2:true]" {
			e.Errorf("then: %v", got)
		}
		controltest.Delete(e, e.Client.CoreV1().Services("default"), "s")
		e.Settle()
		if got := text(e); got != "none" {
			e.Errorf("Endpoints of a Service that is gone: %s", got)
		}
	})
}
