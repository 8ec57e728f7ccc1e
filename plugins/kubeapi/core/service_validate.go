package core

import (
	"context"
	"fmt"
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validateService(_ context.Context, r *resource.Request) field.ErrorList {
	spec := tree.Map(r.Object, "spec")
	path := field.NewPath("spec")
	errs := check.Name(r.Object, check.DNSLabel)
	if r.Subresource != "" {
		return errs
	}
	typ := tree.Str(spec, "type")
	ports := tree.List(spec, "ports")
	if len(ports) == 0 && !headless(spec) && typ != "ExternalName" {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	switch typ {
	case "LoadBalancer", "NodePort":
		if headless(spec) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), "None",
				fmt.Sprintf("may not be set to 'None' for %s services", typ)))
		}
	case "ExternalName":
		errs = append(errs, externalName(spec, path)...)
	}
	errs = append(errs, servicePorts(ports, typ, path.Child("ports"))...)
	if selector := tree.StringMap(spec, "selector"); len(selector) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(selector, path.Child("selector"))...)
	}
	errs = append(errs, affinity(spec, path)...)
	if typ != "ExternalName" {
		errs = append(errs, clusterIPs(spec, path)...)
	}
	for i, ip := range tree.Strings(spec, "externalIPs") {
		at := path.Child("externalIPs").Index(i)
		if wrong := check.IP(at, ip); len(wrong) > 0 {
			errs = append(errs, wrong...)
		} else {
			errs = append(errs, check.EndpointIP(ip, at)...)
		}
	}
	errs = append(errs, balancer(spec, typ, path)...)
	errs = append(errs, traffic(spec, path)...)
	if r.Operation == resource.Update {
		errs = append(errs, serviceUpdate(spec, tree.Map(r.Old, "spec"), path)...)
	}
	return errs
}

func externalName(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range [...]string{"clusterIPs", "ipFamilies", "ipFamilyPolicy"} {
		if !tree.Equal(spec[key], nil) {
			errs = append(errs, field.Forbidden(path.Child(key), "may not be set for ExternalName services"))
		}
	}
	name := strings.TrimSuffix(tree.Str(spec, "externalName"), ".")
	if name == "" {
		return append(errs, field.Required(path.Child("externalName"), ""))
	}
	return append(errs, check.Invalid(path.Child("externalName"), name, check.DNSSubdomain(name))...)
}

func servicePorts(ports []any, typ string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	numbers, nodes := map[string]bool{}, map[string]bool{}
	for i, v := range ports {
		p, at := tree.Object(v), path.Index(i)
		name := tree.Str(p, "name")
		if name == "" && len(ports) > 1 {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else if name != "" {
			errs = append(errs, check.Invalid(at.Child("name"), name, check.DNSLabel(name))...)
			if names[name] {
				errs = append(errs, field.Duplicate(at.Child("name"), name))
			}
			names[name] = true
		}
		errs = append(errs, check.Port(at.Child("port"), tree.Int0(p, "port"))...)
		errs = append(errs, check.PortOrName(p, at, "targetPort")...)
		if a := tree.Str(p, "appProtocol"); a != "" {
			errs = append(errs, check.Invalid(at.Child("appProtocol"), a, validation.IsQualifiedName(a))...)
		}
		protocol := tree.Str(p, "protocol")
		if n := tree.Int0(p, "nodePort"); n != 0 {
			if typ == "ClusterIP" {
				errs = append(errs, field.Forbidden(at.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
			key := fmt.Sprintf("%s/%d", protocol, n)
			if nodes[key] {
				errs = append(errs, field.Duplicate(at.Child("nodePort"), n))
			}
			nodes[key] = true
		}
		key := fmt.Sprintf("%s/%d", protocol, tree.Int0(p, "port"))
		if numbers[key] {
			errs = append(errs, field.Duplicate(at, map[string]any{"port": p["port"], "protocol": protocol}))
		}
		numbers[key] = true
	}
	return errs
}

func affinity(spec map[string]any, path *field.Path) field.ErrorList {
	at := path.Child("sessionAffinityConfig")
	config := tree.Map(spec, "sessionAffinityConfig")
	switch tree.Str(spec, "sessionAffinity") {
	case "None":
		if config != nil {
			return field.ErrorList{field.Forbidden(at, "must not be set when session affinity is None")}
		}
	case "ClientIP":
		const day = 86400
		if n := tree.Int0(tree.Map(config, "clientIP"), "timeoutSeconds"); n <= 0 || n > day {
			return field.ErrorList{field.Invalid(at.Child("clientIP", "timeoutSeconds"), n,
				fmt.Sprintf("must be greater than 0 and less than %d", day))}
		}
	}
	return nil
}

func clusterIPs(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("clusterIPs")
	ip, ips := tree.Str(spec, "clusterIP"), tree.Strings(spec, "clusterIPs")
	switch {
	case ip != "" && len(ips) == 0:
		errs = append(errs, field.Required(at, ""))
	case ip != "" && ips[0] != ip:
		errs = append(errs, field.Invalid(at, ips, "first value must match `clusterIP`"))
	case ip == "" && len(ips) != 0:
		errs = append(errs, field.Invalid(at, ips, "must be empty when `clusterIP` is not specified"))
	}
	families := tree.Strings(spec, "ipFamilies")
	seen := map[string]bool{}
	for i, f := range families {
		if seen[f] {
			errs = append(errs, field.Duplicate(path.Child("ipFamilies").Index(i), f))
		}
		seen[f] = true
	}
	for i, s := range ips {
		if i == 0 && s == "None" {
			if len(ips) > 1 {
				return append(errs, field.Invalid(at, ips, "'None' must be the first and only value"))
			}
			continue
		}
		if wrong := check.IP(at.Index(i), s); len(wrong) > 0 {
			return append(errs, wrong...)
		}
	}
	if len(ips) > 2 {
		errs = append(errs, field.Invalid(at, ips, "may only hold up to 2 values"))
	}
	if len(ips) > 1 {
		if dual, err := netutils.IsDualStackIPStrings(ips); err != nil || !dual {
			errs = append(errs, field.Invalid(at, ips, "may specify no more than one IP for each IP family"))
		}
	}
	if headless(spec) {
		return errs
	}
	for i, s := range ips {
		if i < len(families) {
			if six := netutils.IsIPv6String(s); six != (families[i] == "IPv6") {
				errs = append(errs, field.Invalid(at.Index(i), s,
					fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", families[i], i)))
			}
		}
	}
	return errs
}

func balancer(spec map[string]any, typ string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ranges := tree.Strings(spec, "loadBalancerSourceRanges"); len(ranges) > 0 {
		at := path.Child("LoadBalancerSourceRanges")
		if typ != "LoadBalancer" {
			errs = append(errs, field.Forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
		}
		for i, s := range ranges {
			s = strings.TrimSpace(s)
			if _, _, err := netutils.ParseCIDRSloppy(s); err != nil {
				errs = append(errs, field.Invalid(at.Index(i), s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
			}
		}
	}
	if typ != "LoadBalancer" {
		if spec["allocateLoadBalancerNodePorts"] != nil {
			errs = append(errs, field.Forbidden(path.Child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'"))
		}
		if spec["loadBalancerClass"] != nil {
			errs = append(errs, field.Forbidden(path.Child("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'"))
		}
	}
	return errs
}

func traffic(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p := tree.Str(spec, "externalTrafficPolicy"); p != "" && !external(spec) {
		errs = append(errs, field.Invalid(path.Child("externalTrafficPolicy"), p, "may only be set for externally-accessible services"))
	}
	at, n := path.Child("healthCheckNodePort"), tree.Int0(spec, "healthCheckNodePort")
	switch {
	case !needsHealthPort(spec) && n != 0:
		errs = append(errs, field.Invalid(at, n, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	case needsHealthPort(spec) && n == 0:
		errs = append(errs, field.Required(at, ""))
	case needsHealthPort(spec):
		errs = append(errs, check.Port(at, n)...)
	}
	return errs
}

// serviceUpdate checks that a service keeps its first address, unless it stops or starts
// to have one.
func serviceUpdate(spec, was map[string]any, path *field.Path) field.ErrorList {
	if tree.Str(spec, "type") == "ExternalName" || tree.Str(was, "type") == "ExternalName" || headless(spec) && headless(was) {
		return nil
	}
	now, before := tree.Strings(spec, "clusterIPs"), tree.Strings(was, "clusterIPs")
	at := path.Child("clusterIPs").Index(0)
	switch {
	case len(before) == 0:
	case len(now) == 0:
		return field.ErrorList{field.Invalid(at, now, "primary clusterIP can not be unset")}
	case now[0] != before[0]:
		return field.ErrorList{field.Invalid(at, now, "may not change once set")}
	case len(before) > len(now) && tree.Str(spec, "ipFamilyPolicy") != "SingleStack":
		return field.ErrorList{field.Invalid(path.Child("ipFamilyPolicy"), spec["ipFamilyPolicy"],
			"must be set to 'SingleStack' when releasing the secondary clusterIP")}
	}
	return nil
}
