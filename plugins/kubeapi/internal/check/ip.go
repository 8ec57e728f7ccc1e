package check

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// EndpointIP checks that traffic can be sent to an address.
func EndpointIP(s string, path *field.Path) field.ErrorList {
	ip, err := netip.ParseAddr(s)
	wrong := func(why string) field.ErrorList { return field.ErrorList{field.Invalid(path, s, why)} }
	if err != nil {
		return wrong("must be a valid IP address")
	}
	switch {
	case ip.IsUnspecified():
		return wrong(fmt.Sprintf("may not be unspecified (%v)", s))
	case ip.IsLoopback():
		return wrong("may not be in the loopback range (127.0.0.0/8, ::1/128)")
	case ip.IsLinkLocalUnicast():
		return wrong("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	case ip.IsLinkLocalMulticast():
		return wrong("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	}
	return nil
}

// IP checks an address in a field that has always taken what older parsers took.
func IP(path *field.Path, s string) field.ErrorList {
	if netutils.ParseIPSloppy(s) == nil {
		return field.ErrorList{field.Invalid(path, s, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")}
	}
	return nil
}
