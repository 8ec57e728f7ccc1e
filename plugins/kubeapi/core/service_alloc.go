package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// allocation is what one write of a service takes, from its preparation to its end.
type allocation struct {
	ranges []netip.Prefix
	// chosen are addresses that nobody has asked for by name: another will do as well.
	chosen []netip.Addr
	// ports are node ports that were free.
	ports []int
}

// allocateIPs finds the addresses that a service lacks and checks those that it asks for. They
// are taken in Begin: many writes end between here and there.
func (s *services) allocateIPs(ctx context.Context, r *resource.Request, spec map[string]any, a *allocation) error {
	if headless(spec) {
		if len(tree.List(spec, "clusterIPs")) == 0 {
			spec["clusterIPs"] = tree.Of("None")
		}
		return nil
	}
	families, ips := tree.Strings(spec, "ipFamilies"), tree.Strings(spec, "clusterIPs")
	have := clusterIPsOf(r.Old)
	name := tree.Str(tree.Map(r.Object, "metadata"), "name")
	for i := range max(len(families), len(ips)) {
		if i < len(ips) {
			ip, ok := parseIP(ips[i])
			if !ok || slices.Contains(have, ip) {
				continue // of what is no address, validation says what is wrong with it
			}
			if err := a.read(ctx, s, r.Reader); err != nil {
				return err
			}
			err := s.check(ctx, r.Reader, a.ranges, ip)
			if errors.Is(err, errMismatch) && r.DryRun {
				err = outOfRange{ip, s.configured[0]}
			}
			if err != nil {
				return refused(name, ips, ip, err)
			}
			continue
		}
		if i > 0 && keepsPreference(spec, tree.Map(r.Old, "spec")) {
			break
		}
		if err := a.read(ctx, s, r.Reader); err != nil {
			return err
		}
		ip, err := s.next(ctx, r.Reader, a.ranges, families[i])
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", name, err))
		}
		a.chosen = append(a.chosen, ip)
		ips = append(ips, ip.String())
	}
	setClusterIPs(spec, ips)
	return nil
}

func setClusterIPs(spec map[string]any, ips []string) {
	if len(ips) > 0 {
		spec["clusterIPs"] = tree.Of(ips...)
		spec["clusterIP"] = ips[0]
	}
}

// read finds out the ranges once.
func (a *allocation) read(ctx context.Context, s *services, reader resource.Reader) (err error) {
	if a.ranges == nil {
		a.ranges, err = s.ranges(ctx, reader)
	}
	return err
}

// outOfRange is how a dry run words errMismatch, as upstream does.
type outOfRange struct {
	ip   netip.Addr
	from netip.Prefix
}

// Error implements error.
func (e outOfRange) Error() string {
	return fmt.Sprintf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", e.ip, e.from)
}

// Unwrap says what it is.
func (outOfRange) Unwrap() error { return errMismatch }

// refused is the answer to who asks for an address that can't be had.
func refused(name string, ips []string, ip netip.Addr, err error) error {
	if !errors.Is(err, errTaken) && !errors.Is(err, errMismatch) {
		return err
	}
	return apierrors.NewInvalid(serviceKind, name, field.ErrorList{
		field.Invalid(field.NewPath("spec", "clusterIPs"), ips, fmt.Sprintf("failed to allocate IP %s: %v", ip, err))})
}

// clusterIPsOf are the addresses of a service.
func clusterIPsOf(service map[string]any) []netip.Addr {
	spec := tree.Map(service, "spec")
	if !needsIP(spec) || headless(spec) {
		return nil
	}
	var out []netip.Addr
	for _, v := range tree.List(spec, "clusterIPs") {
		s, _ := v.(string)
		if ip, ok := parseIP(s); ok {
			out = append(out, ip)
		}
	}
	return out
}

var _ resource.Beginner = (*services)(nil)

// Begin implements resource.Beginner: it writes the objects of the addresses that a service
// gets, those of a new service together with it, and deletes those of the addresses that it
// has no more, once it has been written.
func (s *services) Begin(ctx context.Context, r *resource.Request, op resource.Operation) (func(context.Context, error) error, error) {
	if r.Reader == nil || r.Subresource != "" && op != resource.Delete {
		return nil, nil
	}
	a, _ := r.Memory.(*allocation)
	if a == nil {
		a = &allocation{}
	}
	var before, after []netip.Addr
	if s.creator != nil {
		before = clusterIPsOf(r.Old)
	}
	if s.creator != nil && op != resource.Delete {
		after = clusterIPsOf(r.Object)
	}
	isNew := func(ip netip.Addr) bool { return !slices.Contains(before, ip) }
	w := &ipWrites{s: s, reader: r.Reader, namespace: r.Namespace, name: r.Name, ports: a.ports}
	for _, ip := range before {
		if !slices.Contains(after, ip) {
			w.gone = append(w.gone, ip)
		}
	}
	if fresh := slices.DeleteFunc(after, func(ip netip.Addr) bool { return !isNew(ip) }); len(fresh) > 0 {
		if err := w.take(ctx, r, a, fresh); err != nil {
			w.unclaim()
			s.ports.giveBack(a.ports)
			return nil, err
		}
	}
	if len(w.writes)+len(w.gone)+len(w.ports) == 0 {
		return nil, nil
	}
	return w.end, nil
}

// take claims the addresses that a service gets and begins to write their objects.
func (w *ipWrites) take(ctx context.Context, r *resource.Request, a *allocation, fresh []netip.Addr) error {
	spec := tree.Map(r.Object, "spec")
	ips := tree.Strings(spec, "clusterIPs")
	for _, ip := range fresh {
		err := w.s.claim(ctx, r.Reader, ip)
		for errors.Is(err, errTaken) && slices.Contains(a.chosen, ip) {
			// Somebody has been faster; nobody has asked for this one.
			var other netip.Addr
			if other, err = w.s.next(ctx, r.Reader, a.ranges, familyOf(ip)); err != nil {
				return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", w.name, err))
			}
			ips[slices.Index(ips, ip.String())] = other.String()
			setClusterIPs(spec, ips)
			a.chosen = append(a.chosen, other)
			ip = other
			err = w.s.claim(ctx, r.Reader, ip)
		}
		if err != nil {
			return refused(w.name, ips, ip, err)
		}
		w.writes = append(w.writes, &ipWrite{ip: ip, chosen: slices.Contains(a.chosen, ip)})
	}
	w.ips = ips
	if r.Old != nil || r.Together {
		return w.create(ctx)
	}
	// A service that there is already will not be written: nothing is to be written for it.
	there, err := exists(ctx, r.Reader, servicesResource, w.namespace, w.name)
	if err != nil || there {
		return err
	}
	w.done = make(chan error, 1)
	detached := context.WithoutCancel(ctx) // the end waits for it
	go func() { w.done <- w.create(detached) }()
	return nil
}
