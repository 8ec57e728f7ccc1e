package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	servicesResource = runtimeschema.GroupResource{Resource: "services"}
	serviceKind      = runtimeschema.GroupKind{Kind: "Service"}
)

// services is the hooks of services: it gives out cluster IPs and node ports.
type services struct {
	hook.Kind
	*allocator
}

func newServices(o Options) (*services, error) {
	if len(o.ServiceCIDRs) == 0 || len(o.ServiceCIDRs) > 2 {
		return nil, fmt.Errorf("serviceCIDRs: need one range, or one of each address family, have %d", len(o.ServiceCIDRs))
	}
	var ranges []netip.Prefix
	for i, c := range o.ServiceCIDRs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, fmt.Errorf("serviceCIDRs[%d]: %w", i, err)
		}
		ranges = append(ranges, p)
	}
	if len(ranges) == 2 && ranges[0].Addr().Is4() == ranges[1].Addr().Is4() {
		return nil, errors.New("serviceCIDRs: two ranges must be of different address families")
	}
	s := &services{allocator: newAllocator(ranges, o.NodePortMin, o.NodePortMax)}
	s.Kind = hook.Kind{OnDefault: defaultService, OnPrepare: s.prepare, OnValidate: validateService, OnPrint: printService}
	return s, nil
}

func defaultService(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
	switch tree.Str(spec, "sessionAffinity") {
	case "", "None":
		spec["sessionAffinity"] = "None"
		delete(spec, "sessionAffinityConfig")
	case "ClientIP":
		const threeHours = 3 * 60 * 60
		if _, ok := tree.Int(tree.In(spec, "sessionAffinityConfig", "clientIP"), "timeoutSeconds"); !ok {
			spec["sessionAffinityConfig"] = map[string]any{"clientIP": map[string]any{"timeoutSeconds": int64(threeHours)}}
		}
	}
	typ := tree.Str(spec, "type")
	if typ == "" {
		typ = "ClusterIP"
		spec["type"] = typ
	}
	for _, v := range tree.List(spec, "ports") {
		p := tree.Object(v)
		if p == nil {
			continue
		}
		tree.SetDefault(p, "protocol", "TCP")
		switch t := p["targetPort"]; t {
		case nil, int64(0), "":
			p["targetPort"] = p["port"]
		}
	}
	if external(spec) {
		tree.SetDefault(spec, "externalTrafficPolicy", "Cluster")
	}
	if typ != "ExternalName" {
		tree.SetDefault(spec, "internalTrafficPolicy", "Cluster")
	}
	if typ == "LoadBalancer" {
		tree.SetDefault(spec, "allocateLoadBalancerNodePorts", true)
		for _, v := range tree.List(tree.In(r.Object, "status", "loadBalancer"), "ingress") {
			if in := tree.Object(v); tree.Str(in, "ip") != "" {
				tree.SetDefault(in, "ipMode", "VIP")
			}
		}
	}
}

// external reports whether a service is reached from outside of the cluster.
func external(spec map[string]any) bool {
	switch tree.Str(spec, "type") {
	case "LoadBalancer", "NodePort":
		return true
	case "ClusterIP":
		return len(tree.List(spec, "externalIPs")) > 0
	}
	return false
}

func headless(spec map[string]any) bool {
	return tree.Str(spec, "clusterIP") == "None" || len(tree.List(spec, "clusterIPs")) == 1 && tree.List(spec, "clusterIPs")[0] == "None"
}

func needsIP(spec map[string]any) bool {
	switch tree.Str(spec, "type") {
	case "ClusterIP", "NodePort", "LoadBalancer":
		return true
	}
	return false
}

func needsPorts(spec map[string]any) bool {
	switch tree.Str(spec, "type") {
	case "NodePort":
		return true
	case "LoadBalancer":
		b, ok := spec["allocateLoadBalancerNodePorts"].(bool)
		return !ok || b
	}
	return false
}

func needsHealthPort(spec map[string]any) bool {
	return tree.Str(spec, "type") == "LoadBalancer" && tree.Str(spec, "externalTrafficPolicy") == "Local"
}

func (s *services) prepare(ctx context.Context, r *resource.Request) error {
	spec := tree.Map(r.Object, "spec")
	if spec == nil || r.Subresource != "" {
		return nil
	}
	if r.Operation == resource.Create {
		r.Object["status"] = map[string]any{"loadBalancer": map[string]any{}}
		normalizeIPs(spec, nil)
	} else {
		normalizeIPs(spec, tree.Map(r.Old, "spec"))
		carryOver(spec, tree.Map(r.Old, "spec"))
	}
	dropUnused(spec, tree.Map(r.Old, "spec"))
	s.families(spec)
	if !needsIP(spec) {
		return nil
	}
	meta := tree.Map(r.Object, "metadata")
	owner := r.Namespace + "/" + tree.Str(meta, "name")
	if tree.Str(meta, "name") == "" {
		owner = ""
	}
	var errs field.ErrorList
	var given map[string]any
	err := s.reading(func(take func(any, string)) error { return list(ctx, r.Reader, take) }, func() error {
		given = tree.CopyMap(spec)
		errs = s.allocate(given, owner)
		if len(errs) > 0 {
			return errConflict
		}
		return nil
	}, r.DryRun)
	if len(errs) > 0 {
		return apierrors.NewInvalid(serviceKind, tree.Str(meta, "name"), errs)
	}
	if err != nil {
		return err
	}
	r.Object["spec"] = given
	return nil
}

// list tells what the services of the cluster have.
func list(ctx context.Context, reader resource.Reader, take func(any, string)) error {
	if reader == nil {
		return nil
	}
	all, err := reader.List(ctx, servicesResource, "")
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	for _, o := range all {
		spec, meta := tree.Map(o, "spec"), tree.Map(o, "metadata")
		owner := tree.Str(meta, "namespace") + "/" + tree.Str(meta, "name")
		for _, ip := range tree.Strings(spec, "clusterIPs") {
			if a, err := netip.ParseAddr(ip); err == nil {
				take(a, owner)
			}
		}
		for _, v := range tree.List(spec, "ports") {
			if n := tree.Int0(tree.Object(v), "nodePort"); n != 0 {
				take(int(n), owner)
			}
		}
		if n := tree.Int0(spec, "healthCheckNodePort"); n != 0 {
			take(int(n), owner)
		}
	}
	return nil
}

// errConflict marks refusals that a newer reading might not give.
var errConflict = errors.New("taken")

// allocate gives a service what it lacks, and takes what it asks for by name.
func (s *services) allocate(spec map[string]any, owner string) field.ErrorList {
	errs := s.allocateIPs(spec, owner)
	errs = append(errs, s.allocatePorts(spec, owner)...)
	return errs
}

func (s *services) allocateIPs(spec map[string]any, owner string) field.ErrorList {
	if headless(spec) {
		if len(tree.List(spec, "clusterIPs")) == 0 {
			spec["clusterIPs"] = tree.Of("None")
		}
		return nil
	}
	path := field.NewPath("spec", "clusterIPs")
	ips := tree.Strings(spec, "clusterIPs")
	for _, ip := range ips {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil // validation says what is wrong with it
		}
		switch err := s.address(a, owner); {
		case errors.Is(err, errNotInRange):
			return field.ErrorList{field.Invalid(path, ips, fmt.Sprintf(
				"failed to allocate IP %s: the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, ip, s.rangeOf(a)))}
		case err != nil:
			return field.ErrorList{field.Invalid(path, ips, fmt.Sprintf("failed to allocate IP %s: %v", ip, err))}
		}
	}
	for i := len(ips); i < len(tree.List(spec, "ipFamilies")); i++ {
		p, ok := s.rangeFor(tree.Strings(spec, "ipFamilies")[i])
		if !ok {
			return nil
		}
		ip, err := s.nextAddress(p, owner)
		if err != nil {
			return field.ErrorList{field.InternalError(path, fmt.Errorf("failed to allocate a serviceIP: %w", err))}
		}
		ips = append(ips, ip.String())
	}
	if len(ips) > 0 {
		spec["clusterIPs"] = tree.Of(ips...)
		tree.SetDefault(spec, "clusterIP", ips[0])
	}
	return nil
}

func (s *services) rangeOf(ip netip.Addr) netip.Prefix {
	for _, p := range s.ranges {
		if p.Addr().Is4() == ip.Is4() {
			return p
		}
	}
	return s.ranges[0]
}

func (s *services) rangeFor(family string) (netip.Prefix, bool) {
	for _, p := range s.ranges {
		if familyOf(p.Addr()) == family {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func (s *services) allocatePorts(spec map[string]any, owner string) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "ports")
	used := map[int64][]string{}
	// A number may be used twice by one service, for different protocols.
	for i, v := range tree.List(spec, "ports") {
		p := tree.Object(v)
		n := tree.Int0(p, "nodePort")
		if n == 0 || !external(spec) {
			continue
		}
		protocol := tree.Str(p, "protocol")
		if protocols := used[n]; len(protocols) > 0 {
			if slices.Contains(protocols, protocol) {
				errs = append(errs, field.Invalid(path.Index(i).Child("nodePort"), n, errPortTaken.Error()))
			}
			used[n] = append(protocols, protocol)
			continue
		}
		used[n] = []string{protocol}
		if err := s.port(int(n), owner); err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("nodePort"), n, s.portMessage(err)))
		}
	}
	if needsPorts(spec) {
		for i, v := range tree.List(spec, "ports") {
			p := tree.Object(v)
			if p == nil || tree.Int0(p, "nodePort") != 0 {
				continue
			}
			n, err := s.nextPort(owner)
			if err != nil {
				errs = append(errs, field.InternalError(path.Index(i).Child("nodePort"), fmt.Errorf("failed to allocate a nodePort: %w", err)))
				continue
			}
			p["nodePort"] = int64(n)
		}
	}
	if needsHealthPort(spec) {
		at := field.NewPath("spec", "healthCheckNodePort")
		if n := tree.Int0(spec, "healthCheckNodePort"); n != 0 {
			if err := s.port(int(n), owner); err != nil {
				errs = append(errs, field.Invalid(at, n, s.portMessage(err)))
			}
		} else if n, err := s.nextPort(owner); err == nil {
			spec["healthCheckNodePort"] = int64(n)
		}
	}
	return errs
}

func (s *services) portMessage(err error) string {
	if errors.Is(err, errNotInRange) {
		return "provided port is not in the valid range. The range of valid ports is " +
			strconv.Itoa(s.first) + "-" + strconv.Itoa(s.first+s.count-1)
	}
	return err.Error()
}

// families says which address families a service has: those of the addresses it asks
// for, those it names, or the cluster's first.
func (s *services) families(spec map[string]any) {
	if !needsIP(spec) {
		return
	}
	families := tree.Strings(spec, "ipFamilies")
	if len(families) == 0 {
		for _, ip := range tree.Strings(spec, "clusterIPs") {
			if a, err := netip.ParseAddr(strings.TrimSpace(ip)); err == nil {
				families = append(families, familyOf(a))
			}
		}
	}
	if len(families) == 0 {
		families = []string{familyOf(s.ranges[0].Addr())}
	}
	policy := tree.Str(spec, "ipFamilyPolicy")
	anything := headless(spec) && len(tree.Map(spec, "selector")) == 0
	if policy == "" {
		policy = "SingleStack"
		if len(families) > 1 || anything {
			policy = "RequireDualStack"
		}
		spec["ipFamilyPolicy"] = policy
	}
	if len(families) == 1 && policy != "SingleStack" && (anything || len(s.ranges) > 1) {
		other := "IPv6"
		if families[0] == "IPv6" {
			other = "IPv4"
		}
		families = append(families, other)
	}
	spec["ipFamilies"] = tree.Of(families...)
}
