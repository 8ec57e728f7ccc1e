package serviceproxy

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// backends are the endpoints of one port of a service that traffic may go to.
type backends struct {
	all   []netip.AddrPort // wherever they are, sorted
	local []netip.AddrPort // on this node, sorted
	// own are the addresses in local, for traffic that comes back to its sender.
	own []netip.Addr
}

// candidate is an endpoint and what its conditions allow.
type candidate struct {
	ready, local bool
}

// backendsOf finds the endpoints of one port. Those that are ready are taken; where none is,
// those that still serve while they terminate, so that a rollout or a drain loses nothing.
// The same holds among the node's own.
func backendsOf(port *corev1.ServicePort, endpointSlices []*discoveryv1.EndpointSlice, family corev1.IPFamily, node string) backends {
	found := map[netip.AddrPort]candidate{}
	for _, s := range endpointSlices {
		if s.AddressType != discoveryv1.AddressType(family) {
			continue
		}
		number, ok := portOf(port, s.Ports)
		if !ok {
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			ready := ptr.Deref(e.Conditions.Ready, true)
			if !ready && (!ptr.Deref(e.Conditions.Serving, false) || !ptr.Deref(e.Conditions.Terminating, false)) {
				continue
			}
			if len(e.Addresses) == 0 {
				continue
			}
			// Further addresses of an endpoint have no meaning; see the type's documentation.
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err != nil {
				continue
			}
			key := netip.AddrPortFrom(ip, number)
			// While an endpoint moves between slices it is in both.
			if had, ok := found[key]; ok && had.ready {
				continue
			}
			found[key] = candidate{ready: ready, local: node != "" && ptr.Deref(e.NodeName, "") == node}
		}
	}
	var b backends
	b.all = choose(found, func(candidate) bool { return true })
	b.local = choose(found, func(c candidate) bool { return c.local })
	for _, ap := range b.local {
		b.own = append(b.own, ap.Addr())
	}
	return b
}

// choose returns the ready ones among those that are wanted, or all of them if none is.
func choose(from map[netip.AddrPort]candidate, wanted func(candidate) bool) []netip.AddrPort {
	var ready, fallback []netip.AddrPort
	for ap, c := range from {
		switch {
		case !wanted(c):
		case c.ready:
			ready = append(ready, ap)
		default:
			fallback = append(fallback, ap)
		}
	}
	if len(ready) == 0 {
		ready = fallback
	}
	slices.SortFunc(ready, netip.AddrPort.Compare)
	return ready
}

// portOf is the number that a slice gives to a service's port: the same name and protocol.
func portOf(port *corev1.ServicePort, ports []discoveryv1.EndpointPort) (uint16, bool) {
	for _, p := range ports {
		if ptr.Deref(p.Name, "") != port.Name || p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		if ptr.Deref(p.Protocol, corev1.ProtocolTCP) == protocolOf(port) {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

func protocolOf(port *corev1.ServicePort) corev1.Protocol {
	if port.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return port.Protocol
}
