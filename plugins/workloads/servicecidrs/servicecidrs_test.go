package servicecidrs_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/servicecidrs"
)

func buildCIDRs(kit control.Kit) ([]controltest.Runner, error) {
	c, err := servicecidrs.NewCIDRs(kit)
	return []controltest.Runner{c}, err
}

func buildRepair(kit control.Kit) ([]controltest.Runner, error) {
	c, err := servicecidrs.NewRepair(kit)
	return []controltest.Runner{c}, err
}

const finalizer = "networking.k8s.io/service-cidr-finalizer"

// long is before all that a test does.
var long = metav1.NewTime(time.Unix(1, 0))

func cidr(name string, deleted bool, ranges ...string) *networkingv1.ServiceCIDR {
	o := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "cidr"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: ranges}}
	if deleted {
		o.DeletionTimestamp, o.Finalizers = &long, []string{"other", finalizer}
	}
	return o
}

func address(ip, parent string, change ...func(*networkingv1.IPAddress)) *networkingv1.IPAddress {
	family := "IPv4"
	if strings.Contains(ip, ":") {
		family = "IPv6"
	}
	o := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip, UID: "before", CreationTimestamp: long, Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: family, networkingv1.LabelManagedBy: "ipallocator.k8s.io"}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "default", Name: parent}},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

func TestCIDRs(t *testing.T) {
	foreign := func(o *networkingv1.IPAddress) { o.Labels = nil }
	tests := []struct {
		name      string
		cidr      *networkingv1.ServiceCIDR
		others    []runtime.Object
		finalizer bool
		ready     metav1.ConditionStatus
	}{
		{"new", cidr("a", false, "10.0.0.0/24"), nil, true, metav1.ConditionTrue},
		{"deleted, without addresses", cidr("a", true, "10.0.0.0/24"), nil, false, ""},
		{"deleted, with an address", cidr("a", true, "10.0.0.0/24"), []runtime.Object{address("10.0.0.1", "s")}, true, metav1.ConditionFalse},
		{"deleted, with an address of its second family", cidr("a", true, "10.0.0.0/24", "fd00::/112"), []runtime.Object{address("fd00::1", "s")}, true, metav1.ConditionFalse},
		{"deleted, with the address of another range", cidr("a", true, "10.0.0.0/24"), []runtime.Object{address("10.0.1.1", "s")}, false, ""},
		{"deleted, with an address of nobody's service", cidr("a", true, "10.0.0.0/24"), []runtime.Object{address("10.0.0.1", "s", foreign)}, false, ""},
		{"deleted, in a wider one", cidr("a", true, "10.0.0.0/24"), []runtime.Object{address("10.0.0.1", "s"), cidr("b", false, "10.0.0.0/16")}, false, ""},
		{"deleted, in a wider one that goes as well", cidr("a", true, "10.0.0.0/24"), []runtime.Object{address("10.0.0.1", "s"), cidr("b", true, "10.0.0.0/16")}, true, metav1.ConditionFalse},
		{"deleted, its address in a narrower one", cidr("a", true, "10.0.0.0/16"), []runtime.Object{address("10.0.0.1", "s"), cidr("b", false, "10.0.0.0/24")}, false, ""},
		{"deleted, one of two families in another", cidr("a", true, "10.0.0.0/24", "fd00::/112"),
			[]runtime.Object{address("10.0.0.1", "s"), address("fd00::1", "s"), cidr("b", false, "10.0.0.0/24")}, true, metav1.ConditionFalse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, append(tt.others, tt.cidr), buildCIDRs, func(e *controltest.Env) {
				got := controltest.Get(e, e.Client.NetworkingV1().ServiceCIDRs(), "a")
				if slices.Contains(got.Finalizers, finalizer) != tt.finalizer {
					e.Errorf("finalizers: %v", got.Finalizers)
				}
				ready := apimeta.FindStatusCondition(got.Status.Conditions, "Ready")
				if (ready == nil) != (tt.ready == "") || ready != nil && ready.Status != tt.ready {
					e.Errorf("condition: %+v, want status %q", ready, tt.ready)
				}
			})
		})
	}
}

// A ServiceCIDR goes with its last address, or when another takes its addresses over, and not
// before writes that had an address of it have ended.
func TestADeletedCIDRIsLetGo(t *testing.T) {
	for name, free := range map[string]func(e *controltest.Env) error{
		"the last address goes": func(e *controltest.Env) error {
			return e.Client.NetworkingV1().IPAddresses().Delete(e.Ctx, "10.0.0.1", metav1.DeleteOptions{})
		},
		"another range comes": func(e *controltest.Env) error {
			_, err := e.Client.NetworkingV1().ServiceCIDRs().Create(e.Ctx, cidr("b", false, "10.0.0.0/16"), metav1.CreateOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			controltest.Run(t, []runtime.Object{cidr("a", false, "10.0.0.0/24"), address("10.0.0.1", "s")}, buildCIDRs, func(e *controltest.Env) {
				has := func() bool {
					e.Settle()
					got := controltest.Get(e, e.Client.NetworkingV1().ServiceCIDRs(), "a")
					return slices.Contains(got.Finalizers, finalizer)
				}
				o := cidr("a", true, "10.0.0.0/24")
				now := metav1.Now()
				o.DeletionTimestamp = &now
				controltest.Update(e, e.Client.NetworkingV1().ServiceCIDRs(), o)
				if !has() {
					e.Error("it goes with addresses left")
				}
				if err := free(e); err != nil {
					e.Fatal(err)
				}
				if !has() {
					e.Error("it goes at once")
				}
				time.Sleep(11 * time.Second)
				if has() {
					e.Error("it stays")
				}
			})
		})
	}
}

func service(name, ip string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", CreationTimestamp: long},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip}}}
	for _, c := range change {
		c(s)
	}
	return s
}

func TestRepair(t *testing.T) {
	const ip = "10.0.0.1"
	young := func(o *networkingv1.IPAddress) { o.CreationTimestamp = metav1.Now() }
	of := func(p networkingv1.ParentReference) func(*networkingv1.IPAddress) {
		return func(o *networkingv1.IPAddress) { o.Spec.ParentRef = &p }
	}
	gateway := of(networkingv1.ParentReference{Group: "example.com", Resource: "gateways", Name: "g"})
	foreign := func(o *networkingv1.IPAddress) { o.Labels = nil }
	external := func(s *v1.Service) {
		s.Spec.Type, s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ServiceTypeExternalName, "", nil
	}
	tests := []struct {
		name    string
		objects func() []runtime.Object
		// parent of the address soon and in the end, "" where there is none.
		soon, late string
		event      string
	}{
		{"as it should be", func() []runtime.Object { return []runtime.Object{service("s", ip), address(ip, "s")} }, "s", "s", ""},
		{"no address", func() []runtime.Object { return []runtime.Object{service("s", ip)} }, "s", "s", "ClusterIPNotAllocated"},
		{"the address of a gateway", func() []runtime.Object { return []runtime.Object{service("s", ip), address(ip, "s", gateway, foreign)} }, "s", "s", "ClusterIPNotAllocated"},
		{"the address of a service that is gone", func() []runtime.Object { return []runtime.Object{service("s", ip), address(ip, "t", young)} }, "s", "s", "ClusterIPNotAllocated"},
		{"without labels", func() []runtime.Object { return []runtime.Object{service("s", ip), address(ip, "s", foreign)} }, "s", "s", ""},
		{"two services", func() []runtime.Object { return []runtime.Object{service("s", ip), service("t", ip), address(ip, "s")} }, "s", "s", "ClusterIPAlreadyAllocated"},
		{"out of all ranges", func() []runtime.Object {
			return []runtime.Object{service("s", "10.9.0.1"), address(ip, "s", foreign)}
		}, "s", "s", "ClusterIPOutOfRange"},
		{"no address that is one", func() []runtime.Object { return []runtime.Object{service("s", "x")} }, "", "", "ClusterIPNotValid"},
		{"headless", func() []runtime.Object { return []runtime.Object{service("s", "None")} }, "", "", ""},
		{"an old orphan", func() []runtime.Object { return []runtime.Object{address(ip, "s")} }, "", "", "IPAddressNotAllocated"},
		{"a young orphan", func() []runtime.Object { return []runtime.Object{address(ip, "s", young)} }, "s", "", "IPAddressNotAllocated"},
		{"somebody else's", func() []runtime.Object { return []runtime.Object{address(ip, "s", foreign)} }, "s", "s", ""},
		{"of the allocator, for a gateway", func() []runtime.Object { return []runtime.Object{address(ip, "s", gateway)} }, "", "", "IPAddressNotAllocated"},
		{"of a service with another address", func() []runtime.Object {
			return []runtime.Object{service("s", "10.0.0.2"), address("10.0.0.2", "s"), address(ip, "s")}
		}, "", "", "IPAddressWrongReference"},
		{"young, of a service with another address", func() []runtime.Object {
			return []runtime.Object{service("s", "10.0.0.2"), address("10.0.0.2", "s"), address(ip, "s", young)}
		}, "s", "", "IPAddressWrongReference"},
		{"of a service that may be about to get it", func() []runtime.Object {
			return []runtime.Object{service("s", "", external), address(ip, "s", young)}
		}, "s", "", "IPAddressWrongReference"},
		{"two services with one node port", func() []runtime.Object {
			port := func(s *v1.Service) {
				s.Spec.Ports = []v1.ServicePort{{NodePort: 30000}, {NodePort: 30000, Protocol: v1.ProtocolUDP}}
			}
			return []runtime.Object{service("s", ip, port), address(ip, "s"), service("t", "None", port)}
		}, "s", "s", "PortAlreadyAllocated Port 30000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The fake clock of the test begins with it, so objects are made in it.
			controltest.Run(t, []runtime.Object{cidr("kubernetes", false, "10.0.0.0/24")}, buildRepair, func(e *controltest.Env) {
				for _, o := range tt.objects() {
					if err := e.Client.Tracker().Add(o); err != nil {
						e.Fatal(err)
					}
				}
				parent := func() string {
					o, err := e.Client.NetworkingV1().IPAddresses().Get(e.Ctx, ip, metav1.GetOptions{})
					if err != nil {
						return ""
					}
					return o.Spec.ParentRef.Name
				}
				e.Settle()
				if got := parent(); got != tt.soon {
					e.Errorf("soon the address is of %q, want %q", got, tt.soon)
				}
				e.Pass(4 * time.Minute)
				if got := parent(); got != tt.late {
					e.Errorf("in the end the address is of %q, want %q", got, tt.late)
				}
				events := strings.Join(e.Events(), "\n")
				if tt.event == "" && events != "" || !strings.Contains(events, tt.event) {
					e.Errorf("events %q, want %q", events, tt.event)
				}
			})
		})
	}
}

// A service and its address that come and go together, in any order, are no reason to say
// anything.
func TestRepairWaits(t *testing.T) {
	controltest.Run(t, []runtime.Object{cidr("kubernetes", false, "10.0.0.0/24")}, buildRepair, func(e *controltest.Env) {
		s := service("s", "10.0.0.1", func(s *v1.Service) { s.CreationTimestamp = metav1.Now() })
		controltest.Create(e, e.Client.CoreV1().Services("default"), s)
		e.Settle()
		controltest.Create(e, e.Client.NetworkingV1().IPAddresses(), address("10.0.0.1", "s"))
		time.Sleep(time.Minute)
		controltest.Delete(e, e.Client.CoreV1().Services("default"), "s")
		e.Settle()
		controltest.Delete(e, e.Client.NetworkingV1().IPAddresses(), "10.0.0.1")
		e.Pass(time.Minute)
		if got := e.Events(); len(got) > 0 {
			e.Errorf("events %v", got)
		}
	})
}
