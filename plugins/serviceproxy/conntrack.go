package serviceproxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// staleUDP matches tracked UDP flows to a service that go where they may not go any more.
// UDP has no end of a connection: a client that goes on sending from one port would be
// answered by nobody for as long as it does.
type staleUDP struct {
	services map[netip.AddrPort][]netip.AddrPort
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s staleUDP) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, from := addrPort(flow.Forward.DstIP, flow.Forward.DstPort), addrPort(flow.Reverse.SrcIP, flow.Reverse.SrcPort)
	if endpoints, ok := s.services[to]; ok {
		// Also what went out untranslated, before the service was there.
		return !slices.Contains(endpoints, from)
	}
	endpoints, ok := s.services[netip.AddrPortFrom(netip.Addr{}, to.Port())]
	return ok && to != from && !slices.Contains(endpoints, from)
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// udpChanged are the UDP services that were led elsewhere between two states.
func udpChanged(before, after *contents) map[netip.AddrPort][]netip.AddrPort {
	changed := map[netip.AddrPort][]netip.AddrPort{}
	for to, endpoints := range after.udp {
		if before == nil || !slices.Equal(before.udp[to], endpoints) {
			changed[to] = endpoints
		}
	}
	if before == nil {
		return changed
	}
	for to := range before.udp {
		if _, ok := after.udp[to]; !ok {
			changed[to] = nil
		}
	}
	return changed
}

// forgetFlows removes the tracked flows of services that were led elsewhere.
func forgetFlows(family corev1.IPFamily, changed map[netip.AddrPort][]netip.AddrPort) error {
	if len(changed) == 0 {
		return nil
	}
	f := netlink.InetFamily(unix.AF_INET)
	if family == corev1.IPv6Protocol {
		f = unix.AF_INET6
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, staleUDP{changed}); err != nil {
		return fmt.Errorf("clearing tracked UDP flows of %s services: %w", family, err)
	}
	return nil
}
