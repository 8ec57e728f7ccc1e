package config

import (
	"net"
	"net/netip"
)

// Advertised is the address at which other machines and pods reach the API: Advertise, else
// the address of Listen, else, where that is the unspecified one, the machine's own. It is
// false where there is none but loopback.
func (a API) Advertised() (netip.Addr, bool) {
	text := a.Advertise
	if text == "" {
		host, _, err := net.SplitHostPort(a.Listen)
		if err != nil {
			return netip.Addr{}, false
		}
		text = host
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			text = OutboundIP()
		}
	}
	addr, err := netip.ParseAddr(text)
	return addr, err == nil && !addr.IsLoopback()
}

// OutboundIP is the address from which this machine reaches others; loopback where it
// reaches none. Nothing is sent: connecting a UDP socket only looks up the route.
func OutboundIP() string {
	conn, err := net.Dial("udp", "192.0.2.1:9") //nolint:noctx // there is nothing to wait for
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return a.IP.String()
	}
	return "127.0.0.1"
}
