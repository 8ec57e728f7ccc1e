package author

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
)

// OnThisMachine returns an error where the address of an API server is certainly not one of this
// machine. A name that can't be resolved, and a tunnel on loopback, are left for the server to judge.
func OnThisMachine(ctx context.Context, server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return nil //nolint:nilerr // the client says what is wrong with it
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // as will the client
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil //nolint:nilerr // nobody knows
	}
	for _, address := range addresses {
		if ip := address.IP; ip.IsLoopback() || ip.IsUnspecified() || slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip)
		}) {
			return nil
		}
	}
	return fmt.Errorf("the API server at %s is on another machine", server)
}
