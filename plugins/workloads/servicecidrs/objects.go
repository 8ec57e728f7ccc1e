package servicecidrs

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	netutils "k8s.io/utils/net"
)

// managed reports whether an IPAddress is of the allocator of services.
func managed(o *networkingv1.IPAddress) bool {
	return o.Labels[networkingv1.LabelManagedBy] == allocator
}

// ofService reports whether an IPAddress says that it belongs to a service.
func ofService(o *networkingv1.IPAddress) bool {
	p := o.Spec.ParentRef
	return p != nil && p.Group == "" && p.Resource == "services"
}

// hasIPs reports whether a service has addresses of its own.
func hasIPs(s *v1.Service) bool {
	return s.Spec.Type != v1.ServiceTypeExternalName && s.Spec.ClusterIP != v1.ClusterIPNone && len(s.Spec.ClusterIPs) > 0
}

// parse reads an address in all the ways that services have been allowed to write it.
func parse(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap(), true
	}
	ip, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s))
	return ip.Unmap(), ok
}

// same finds an address among those of a service.
func same(ip netip.Addr) func(string) bool {
	return func(s string) bool {
		a, ok := parse(s)
		return ok && a == ip
	}
}

func family(ip netip.Addr) v1.IPFamily {
	if ip.Is4() {
		return v1.IPv4Protocol
	}
	return v1.IPv6Protocol
}

// nodePorts are the node ports of a service, each once: it may use one for many protocols.
func nodePorts(s *v1.Service) []int32 {
	var out []int32
	add := func(n int32) {
		if n != 0 && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	for i := range s.Spec.Ports {
		add(s.Spec.Ports[i].NodePort)
	}
	add(s.Spec.HealthCheckNodePort)
	return out
}

func (c *Repair) warn(o runtime.Object, reason, format string, args ...any) {
	c.events.Eventf(o, v1.EventTypeWarning, reason, format, args...)
}
