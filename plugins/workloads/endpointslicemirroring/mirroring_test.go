package endpointslicemirroring_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	mirroring "github.com/pintle-dev/pintle/plugins/workloads/endpointslicemirroring"
)

var build = controltest.One(mirroring.New)

func service(selector map[string]string) *v1.Service {
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "default", UID: "s"}, Spec: v1.ServiceSpec{Selector: selector}}
}

func endpoints(subsets ...v1.EndpointSubset) *v1.Endpoints {
	return &v1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "default", UID: "e", Labels: map[string]string{"mine": "yes"}, Annotations: map[string]string{
			"note": "x", v1.LastAppliedConfigAnnotation: "{}", v1.EndpointsLastChangeTriggerTime: "now",
		}},
		Subsets: subsets,
	}
}

func at(ips ...string) []v1.EndpointAddress {
	var out []v1.EndpointAddress
	for _, ip := range ips {
		out = append(out, v1.EndpointAddress{IP: ip})
	}
	return out
}

func ports(numbers ...int32) []v1.EndpointPort {
	var out []v1.EndpointPort
	for _, n := range numbers {
		out = append(out, v1.EndpointPort{Name: fmt.Sprint("p", n), Port: n, Protocol: v1.ProtocolTCP})
	}
	return out
}

// shown returns the slices as "family ports: addresses", with ! behind what is not ready.
func shown(e *controltest.Env) []string {
	list := controltest.List(e, e.Client.DiscoveryV1().EndpointSlices("default"))
	var out []string
	for _, s := range list.Items {
		text := string(s.AddressType)
		var numbers []int32
		for _, p := range s.Ports {
			numbers = append(numbers, *p.Port)
		}
		slices.Sort(numbers)
		for _, n := range numbers {
			text += fmt.Sprint(" ", n)
		}
		text += ":"
		for _, x := range s.Endpoints {
			text += " " + x.Addresses[0]
			if !*x.Conditions.Ready {
				text += "!"
			}
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func TestMirrors(t *testing.T) {
	var many []string
	for i := range 1100 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	labelled := endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1")})
	labelled.Labels[discoveryv1.LabelSkipMirror] = "true"
	election := endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1")})
	election.Annotations["control-plane.alpha.kubernetes.io/leader"] = "x"
	tests := []struct {
		name    string
		service *v1.Service
		from    *v1.Endpoints
		want    []string
		event   string
	}{
		{"one subset", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.2", "10.0.0.1"), NotReadyAddresses: at("10.0.0.3"), Ports: ports(80, 443)}),
			[]string{"IPv4 80 443: 10.0.0.1 10.0.0.2 10.0.0.3!"}, ""},
		{"both families", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1", "fd00::1"), Ports: ports(80)}),
			[]string{"IPv4 80: 10.0.0.1", "IPv6 80: fd00::1"}, ""},
		{"subsets of other ports", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1"), Ports: ports(80)}, v1.EndpointSubset{Addresses: at("10.0.0.2"), Ports: ports(81)}),
			[]string{"IPv4 80: 10.0.0.1", "IPv4 81: 10.0.0.2"}, ""},
		{"subsets that are one", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1"), Ports: ports(80)}, v1.EndpointSubset{Addresses: at("10.0.0.1"), Ports: ports(81)}),
			[]string{"IPv4 80 81: 10.0.0.1"}, ""},
		{"ready and not", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1"), NotReadyAddresses: at("10.0.0.1"), Ports: ports(80)}),
			[]string{"IPv4 80: 10.0.0.1!"}, ""},
		{"no ports", service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1")}), []string{"IPv4: 10.0.0.1"}, ""},
		{"odd addresses", service(nil), endpoints(v1.EndpointSubset{Addresses: at("010.0.0.1", "somewhere"), Ports: ports(80)}),
			[]string{"IPv4 80: 10.0.0.1"}, "Warning InvalidIPAddress Skipped 1 invalid IP addresses when mirroring to EndpointSlices"},
		{"too many", service(nil), endpoints(v1.EndpointSubset{Addresses: at(many...), Ports: ports(80)}), nil,
			"Warning TooManyAddressesToMirror A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 100 addresses were skipped"},
		{"a Service with a selector", service(map[string]string{"a": "b"}), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1")}), []string{}, ""},
		{"not to be mirrored", service(nil), labelled, []string{}, ""},
		{"a leader election", service(nil), election, []string{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, []runtime.Object{tt.service, tt.from}, build, func(e *controltest.Env) {
				if got := shown(e); tt.want != nil && !slices.Equal(got, tt.want) {
					e.Errorf("got %v", got)
				}
				if events := e.Events(); (tt.event == "") != (len(events) == 0) || (tt.event != "" && events[0] != tt.event) {
					e.Errorf("events: %v", events)
				}
			})
		})
	}
}

func TestFollows(t *testing.T) {
	controltest.Run(t, []runtime.Object{service(nil), endpoints(v1.EndpointSubset{Addresses: at("10.0.0.1"), Ports: ports(80)})}, build, func(e *controltest.Env) {
		first, err := e.Client.DiscoveryV1().EndpointSlices("default").List(e.Ctx, metav1.ListOptions{})
		if err != nil || len(first.Items) != 1 {
			e.Fatalf("%v, %v", first, err)
		}
		s := first.Items[0]
		if s.Labels["mine"] != "yes" || s.Labels[discoveryv1.LabelManagedBy] != "endpointslicemirroring-controller.k8s.io" || s.Labels[discoveryv1.LabelServiceName] != "s" ||
			len(s.Annotations) != 1 || s.OwnerReferences[0].UID != "e" || !strings.HasPrefix(s.Name, "s-") {
			e.Errorf("metadata: %+v", s.ObjectMeta)
		}
		changed := endpoints(v1.EndpointSubset{Addresses: at("10.0.0.9"), Ports: ports(81)})
		controltest.Update(e, e.Client.CoreV1().Endpoints("default"), changed)
		e.Settle()
		after, err := e.Client.DiscoveryV1().EndpointSlices("default").List(e.Ctx, metav1.ListOptions{})
		if err != nil || len(after.Items) != 1 || after.Items[0].Name != s.Name || *after.Items[0].Ports[0].Port != 81 {
			e.Errorf("not recycled: %+v, %v", after, err)
		}
		controltest.Delete(e, e.Client.CoreV1().Endpoints("default"), "s")
		e.Settle()
		if got := shown(e); len(got) != 0 {
			e.Errorf("left over: %v", got)
		}
	})
}
