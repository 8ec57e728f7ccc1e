package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

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
	*addresses
	ports *nodePorts
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
	s := &services{addresses: &addresses{configured: ranges, creator: o.Creator}, ports: newNodePorts(o.NodePortMin, o.NodePortMax)}
	s.ports.shared = o.Shared
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
	was := tree.Map(r.Old, "spec")
	if r.Operation == resource.Create {
		r.Object["status"] = map[string]any{"loadBalancer": map[string]any{}}
		normalizeIPs(spec, nil)
	} else {
		normalizeIPs(spec, was)
		carryOver(spec, was)
	}
	dropUnused(spec, was)
	if !needsIP(spec) {
		return nil
	}
	path := field.NewPath("spec")
	if len(clusterIPs(spec, path)) > 0 || was != nil && len(serviceUpdate(spec, was, path)) > 0 {
		return nil // validation says it
	}
	if errs := families(spec, was, s.configured); len(errs) > 0 {
		return apierrors.NewInvalid(serviceKind, tree.Str(tree.Map(r.Object, "metadata"), "name"), errs)
	}
	if r.Reader == nil {
		return nil
	}
	a := &allocation{}
	r.Memory = a
	if err := s.allocateIPs(ctx, r, spec, a); err != nil {
		return err
	}
	return s.allocatePorts(ctx, r, a)
}
