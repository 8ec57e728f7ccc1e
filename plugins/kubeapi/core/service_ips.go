package core

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	serviceCIDRsResource = runtimeschema.GroupResource{Group: "networking.k8s.io", Resource: "servicecidrs"}
	ipAddressesResource  = runtimeschema.GroupResource{Group: "networking.k8s.io", Resource: "ipaddresses"}
)

// Reasons for which an address is not given out.
var (
	errTaken     = errors.New("provided IP is already allocated")
	errExhausted = errors.New("range is full")
	errMismatch  = errors.New("the provided network does not match the current range")
)

// The labels of an IPAddress that belongs to a service.
const (
	labelFamily    = "ipaddress.kubernetes.io/ip-family"
	labelManagedBy = "ipaddress.kubernetes.io/managed-by"
	managedBy      = "ipallocator.k8s.io"
)

// addresses gives out cluster IPs from the ranges of ServiceCIDR objects. What is given out is
// an IPAddress object, whose name is the address: names are unique, and so are addresses,
// whichever server gives them out.
type addresses struct {
	// configured are the server's own ranges, the primary one first. They say which families
	// services may have, and count where there is no ServiceCIDR at all.
	configured []netip.Prefix
	// creator makes the objects; nil makes none, and nothing is unique.
	creator resource.Creator

	mu sync.Mutex
	// busy are addresses whose objects are being written.
	busy map[netip.Addr]bool
}

// ranges are those that addresses are given out from now, the configured ones first.
func (a *addresses) ranges(ctx context.Context, reader resource.Reader) ([]netip.Prefix, error) {
	all, err := reader.List(ctx, serviceCIDRsResource, "")
	if err != nil {
		return nil, fmt.Errorf("listing ServiceCIDRs: %w", err)
	}
	if len(all) == 0 {
		return a.configured, nil
	}
	const longest = 64 // bits of the host part that an IPv6 range may have
	var out []netip.Prefix
	for _, o := range all {
		if !cidrReady(o) {
			continue
		}
		for _, s := range tree.Strings(tree.Map(o, "spec"), "cidrs") {
			p, err := netip.ParsePrefix(s)
			if err == nil && p.Addr().BitLen()-p.Bits() <= longest && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	rank := func(p netip.Prefix) int {
		if slices.Contains(a.configured, p) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(x, y netip.Prefix) int { return cmp.Compare(rank(x), rank(y)) })
	return out, nil
}

// cidrReady reports whether addresses may be given out from a ServiceCIDR: its controller has
// not said otherwise, and it is not being deleted.
func cidrReady(o map[string]any) bool {
	if tree.Map(o, "metadata")["deletionTimestamp"] != nil {
		return false
	}
	for _, v := range tree.List(tree.Map(o, "status"), "conditions") {
		if c := tree.Object(v); tree.Str(c, "type") == "Ready" {
			return tree.Str(c, "status") == "True"
		}
	}
	return true
}

// check says why an address that is asked for by name can't be had.
func (a *addresses) check(ctx context.Context, reader resource.Reader, ranges []netip.Prefix, ip netip.Addr) error {
	if !slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return usable(p, ip) }) {
		return errMismatch
	}
	taken, err := exists(ctx, reader, ipAddressesResource, "", ip.String())
	if err == nil && taken {
		return errTaken
	}
	return err
}

// maxProbes bounds the search in one part of a range.
const maxProbes = 1 << 20

// next finds an address of a family that nobody has. It begins at a random place, so that
// addresses are not used again soon, and leaves the first ones of a range to those who ask for
// them by name, as long as there are others.
func (a *addresses) next(ctx context.Context, reader resource.Reader, ranges []netip.Prefix, family string) (netip.Addr, error) {
	for _, p := range ranges {
		if familyOf(p.Addr()) != family {
			continue
		}
		n := hosts(p)
		static := staticPart(p)
		for _, part := range [...][2]uint64{{static, n}, {0, static}} {
			ip, err := a.search(ctx, reader, p, part[0], part[1])
			if err != nil || ip.IsValid() {
				return ip, err
			}
		}
	}
	return netip.Addr{}, errExhausted
}

// search looks for a free address among the from-th to the to-th, that one excluded, of a
// range. It is not valid where there is none.
func (a *addresses) search(ctx context.Context, reader resource.Reader, p netip.Prefix, from, to uint64) (netip.Addr, error) {
	if from >= to {
		return netip.Addr{}, nil
	}
	base, n := p.Masked().Addr(), to-from
	start := rand.Uint64N(n)
	for i := range min(n, maxProbes) {
		ip := offset(base, 1+from+(start+i)%n)
		if a.isBusy(ip) {
			continue
		}
		taken, err := exists(ctx, reader, ipAddressesResource, "", ip.String())
		if err != nil || !taken {
			return ip, err
		}
	}
	return netip.Addr{}, nil
}

func (a *addresses) isBusy(ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy[ip]
}

// claim keeps an address for one write, or says why that can't be.
func (a *addresses) claim(ctx context.Context, reader resource.Reader, ip netip.Addr) error {
	a.mu.Lock()
	if a.busy[ip] {
		a.mu.Unlock()
		return errTaken
	}
	if a.busy == nil {
		a.busy = map[netip.Addr]bool{}
	}
	a.busy[ip] = true
	a.mu.Unlock()
	// Who had it before may have written its object meanwhile.
	taken, err := exists(ctx, reader, ipAddressesResource, "", ip.String())
	if err == nil && taken {
		err = errTaken
	}
	if err != nil {
		a.unclaim(ip)
	}
	return err
}

func (a *addresses) unclaim(ips ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ip := range ips {
		delete(a.busy, ip)
	}
}

// create writes the object of an address and returns its UID.
func (a *addresses) create(ctx context.Context, ip netip.Addr, namespace, name string) (uid string, err error) {
	meta := map[string]any{"name": ip.String(), "labels": map[string]any{labelFamily: familyOf(ip), labelManagedBy: managedBy}}
	err = a.creator.Create(ctx, ipAddressesResource, map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": meta,
		"spec": map[string]any{"parentRef": map[string]any{"resource": "services", "namespace": namespace, "name": name}},
	})
	return tree.Str(meta, "uid"), err //nolint:wrapcheck // the caller knows the address
}

// release deletes the object of an address that a service had.
func (a *addresses) release(ctx context.Context, reader resource.Reader, ip netip.Addr, namespace, name string) error {
	o, err := reader.Get(ctx, ipAddressesResource, "", ip.String())
	if err != nil || o == nil {
		return err //nolint:wrapcheck // says what it has read
	}
	parent := tree.In(o, "spec", "parentRef")
	if tree.Str(parent, "resource") != "services" || tree.Str(parent, "namespace") != namespace || tree.Str(parent, "name") != name {
		return nil
	}
	return a.drop(ctx, ip, tree.Str(tree.Map(o, "metadata"), "uid"))
}

// drop deletes the object of an address if it is still the one meant.
func (a *addresses) drop(ctx context.Context, ip netip.Addr, uid string) error {
	if err := a.creator.Delete(ctx, ipAddressesResource, "", ip.String(), uid); err != nil && !gone(err) {
		return fmt.Errorf("releasing %s: %w", ip, err)
	}
	return nil
}

// exists asks for an object without decoding it where that can be had.
func exists(ctx context.Context, reader resource.Reader, gr runtimeschema.GroupResource, namespace, name string) (bool, error) {
	if raw, ok := reader.(resource.RawReader); ok {
		data, err := raw.Raw(ctx, gr, namespace, name)
		return data != nil, err //nolint:wrapcheck // says what it has read
	}
	o, err := reader.Get(ctx, gr, namespace, name)
	return o != nil, err //nolint:wrapcheck // as above
}

// usable reports whether an address of a range can be given out: the first is the network's
// and the last one of IPv4 is where broadcasts go.
func usable(p netip.Prefix, ip netip.Addr) bool {
	return p.Contains(ip) && ip != p.Masked().Addr() && (ip.Is6() || ip != last(p))
}

// hosts is how many addresses of a range can be given out.
func hosts(p netip.Prefix) uint64 {
	n := ^uint64(0)
	if bits := p.Addr().BitLen() - p.Bits(); bits < 64 {
		n = 1<<bits - 1
	}
	if p.Addr().Is4() && n > 0 {
		n--
	}
	return n
}

// staticPart is how many of the first addresses of a range are left to those who ask for them
// by name: a 16th, from 16 up to 256, and none of ranges of 16 and less.
func staticPart(p netip.Prefix) uint64 {
	const least, most = 16, 256
	bits := p.Addr().BitLen() - p.Bits()
	if bits <= 4 {
		return 0
	}
	return min(max(uint64(1)<<min(bits-4, 62), least), most, hosts(p))
}

// offset is the n-th address behind base. Ranges are small enough that it does not overflow.
func offset(base netip.Addr, n uint64) netip.Addr {
	if base.Is4() {
		b := base.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n)) //nolint:gosec // within the range
		return netip.AddrFrom4(b)
	}
	b := base.As16()
	low := b[8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)+n)
	return netip.AddrFrom16(b)
}

// last returns the last address of an IPv4 range.
func last(p netip.Prefix) netip.Addr {
	return offset(p.Masked().Addr(), 1<<(p.Addr().BitLen()-p.Bits())-1)
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// parseIP reads an address in all the ways that the field has always taken.
func parseIP(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap(), true
	}
	ip, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s))
	return ip.Unmap(), ok
}
