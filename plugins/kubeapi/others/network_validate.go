package others

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const ingressClassAnnotation = "kubernetes.io/ingress.class"

func validateIngress(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource == "status" {
		return append(errs, ingressStatus(tree.List(tree.In(r.Object, "status", "loadBalancer"), "ingress"), field.NewPath("status", "loadBalancer", "ingress"))...)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	backend := tree.Map(spec, "defaultBackend")
	rules := tree.List(spec, "rules")
	if len(rules) == 0 && backend == nil {
		errs = append(errs, field.Invalid(path, rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if backend != nil {
		errs = append(errs, ingressBackend(backend, path.Child("defaultBackend"))...)
	}
	for i, v := range rules {
		rule, at := tree.Object(v), path.Child("rules").Index(i)
		errs = append(errs, ingressHost(tree.Str(rule, "host"), at.Child("host"))...)
		http := tree.Map(rule, "http")
		if http == nil {
			continue
		}
		paths := tree.List(http, "paths")
		if len(paths) == 0 {
			errs = append(errs, field.Required(at.Child("http", "paths"), ""))
		}
		for j, p := range paths {
			errs = append(errs, ingressPath(tree.Object(p), at.Child("http", "paths").Index(j))...)
		}
	}
	keepsSecrets := badSecretName(r.Old)
	for i, v := range tree.List(spec, "tls") {
		tls, at := tree.Object(v), path.Child("tls").Index(i)
		for j, h := range tree.Strings(tls, "hosts") {
			errs = append(errs, hostName(h, at.Child("hosts").Index(j))...)
		}
		if s := tree.Str(tls, "secretName"); s != "" && !keepsSecrets {
			errs = append(errs, check.Invalid(at.Child("secretName"), s, check.DNSSubdomain(s))...)
		}
	}
	class, named := spec["ingressClassName"].(string)
	if named {
		errs = append(errs, check.Invalid(path.Child("ingressClassName"), class, check.DNSSubdomain(class))...)
	}
	if a, ok := tree.In(r.Object, "metadata", "annotations")[ingressClassAnnotation].(string); ok && named && a != class && r.Operation == resource.Create {
		errs = append(errs, field.Invalid(field.NewPath("annotations").Child(ingressClassAnnotation), a, "must match `ingressClassName` when both are specified"))
	}
	return errs
}

// badSecretName reports whether an ingress already has a name of a secret that would not be
// taken today.
func badSecretName(old map[string]any) bool {
	for _, v := range tree.List(tree.Map(old, "spec"), "tls") {
		if s := tree.Str(tree.Object(v), "secretName"); s != "" && len(check.DNSSubdomain(s)) > 0 {
			return true
		}
	}
	return false
}

func ingressStatus(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range list {
		in, at := tree.Object(v), path.Index(i)
		if ip := tree.Str(in, "ip"); ip != "" {
			errs = append(errs, check.IP(at.Child("ip"), ip)...)
		}
		host := tree.Str(in, "hostname")
		if host == "" {
			continue
		}
		errs = append(errs, check.Invalid(at.Child("hostname"), host, check.DNSSubdomain(host))...)
		if netutils.ParseIPSloppy(host) != nil {
			errs = append(errs, field.Invalid(at.Child("hostname"), host, notAddress))
		}
	}
	return errs
}

const notAddress = "must be a DNS name, not an IP address"

func ingressHost(host string, path *field.Path) field.ErrorList {
	if host == "" {
		return nil
	}
	var errs field.ErrorList
	if netutils.ParseIPSloppy(host) != nil {
		errs = append(errs, field.Invalid(path, host, notAddress))
	}
	return append(errs, hostName(host, path)...)
}

// hostName checks a host, which may begin with a star.
func hostName(host string, path *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return check.Invalid(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return check.Invalid(path, host, check.DNSSubdomain(host))
}

func ingressPath(p map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	value, path := tree.Str(p, "path"), at.Child("path")
	wrong := func(why string) { errs = append(errs, field.Invalid(path, value, why)) }
	switch typ := tree.Str(p, "pathType"); typ {
	case "":
		return field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}
	case "Exact", "Prefix":
		if !strings.HasPrefix(value, "/") {
			wrong("must be an absolute path")
		}
		for _, s := range [...]string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(value, s) {
				wrong(fmt.Sprintf("must not contain '%s'", s))
			}
		}
		for _, s := range [...]string{"/..", "/."} {
			if strings.HasSuffix(value, s) {
				wrong(fmt.Sprintf("cannot end with '%s'", s))
			}
		}
	case "ImplementationSpecific":
		if value != "" && !strings.HasPrefix(value, "/") {
			wrong("must be an absolute path")
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("pathType"), typ, []string{"Exact", "ImplementationSpecific", "Prefix"}))
	}
	return append(errs, ingressBackend(tree.Map(p, "backend"), at.Child("backend"))...)
}

func ingressBackend(b map[string]any, at *field.Path) field.ErrorList {
	service, other := tree.Map(b, "service"), tree.Map(b, "resource")
	switch {
	case service != nil && other != nil:
		return field.ErrorList{field.Invalid(at, "", "cannot set both resource and service backends")}
	case other != nil:
		return typedReference(other, at.Child("resource"))
	case service == nil:
		return field.ErrorList{field.Invalid(at, "", "resource or service backend is required")}
	}
	var errs field.ErrorList
	if name := tree.Str(service, "name"); name == "" {
		errs = append(errs, field.Required(at.Child("service", "name"), ""))
	} else {
		errs = append(errs, check.Invalid(at.Child("service", "name"), name, check.DNSLabel(name))...)
	}
	port := tree.Map(service, "port")
	name, number := tree.Str(port, "name"), tree.Int0(port, "number")
	switch {
	case name != "" && number != 0:
		errs = append(errs, field.Invalid(at, "", "cannot set both port name & port number"))
	case name == "" && number == 0:
		errs = append(errs, field.Required(at, "port name or number is required"))
	case name != "":
		errs = append(errs, check.Invalid(at.Child("service", "port", "name"), name, validation.IsValidPortName(name))...)
	default:
		errs = append(errs, check.Port(at.Child("service", "port", "number"), number)...)
	}
	return errs
}

// typedReference checks a reference by group, kind and name.
func typedReference(ref map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if group, ok := ref["apiGroup"].(string); ok {
		errs = append(errs, check.Invalid(path.Child("apiGroup"), group, check.DNSSubdomain(group))...)
	}
	for _, key := range [...]string{"kind", "name"} {
		errs = append(errs, segment(ref, path, key, true)...)
	}
	return errs
}

// segment checks a member that is part of a path.
func segment(o map[string]any, path *field.Path, key string, must bool) field.ErrorList {
	s := tree.Str(o, key)
	switch {
	case s != "":
		return check.Invalid(path.Child(key), s, check.PathSegment(s))
	case must:
		return field.ErrorList{field.Required(path.Child(key), "")}
	}
	return nil
}

const maxController = 250

func validateIngressClass(_ context.Context, r *resource.Request) field.ErrorList {
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	controller, at := tree.Str(spec, "controller"), path.Child("controller")
	var errs field.ErrorList
	if r.Operation == resource.Update {
		errs = append(errs, check.Unchanged(at, spec["controller"], tree.Map(r.Old, "spec")["controller"])...)
	}
	errs = append(errs, check.Name(r.Object, check.DNSSubdomain)...)
	if len(controller) > maxController {
		errs = append(errs, field.TooLong(at, "", maxController))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(at, controller)...)
	ref, at := tree.Map(spec, "parameters"), path.Child("parameters")
	if ref == nil {
		return errs
	}
	errs = append(errs, typedReference(ref, at)...)
	namespace, named := ref["namespace"].(string)
	switch scope := tree.Str(ref, "scope"); scope {
	case "":
		errs = append(errs, field.Required(at.Child("scope"), ""))
	case "Cluster":
		if named {
			errs = append(errs, field.Forbidden(at.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
		}
	case "Namespace":
		if !named {
			errs = append(errs, field.Required(at.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
		} else {
			errs = append(errs, check.Invalid(at.Child("namespace"), namespace, check.DNSLabel(namespace))...)
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("scope"), scope, []string{"Cluster", "Namespace"}))
	}
	return errs
}

func validateIPAddress(_ context.Context, r *resource.Request) field.ErrorList {
	path := field.NewPath("spec", "parentRef")
	parent := tree.In(r.Object, "spec", "parentRef")
	if r.Operation == resource.Update {
		var errs field.ErrorList
		if !tree.Equal(parent, tree.In(r.Old, "spec", "parentRef")) {
			errs = append(errs, field.Invalid(path, parentShown(parent), check.Immutable))
		}
		if parent == nil {
			errs = append(errs, field.Required(path, ""))
		}
		return errs
	}
	errs := check.Name(r.Object, canonicalIP)
	if parent == nil {
		return append(errs, field.Required(path, ""))
	}
	if g := tree.Str(parent, "group"); g != "" {
		errs = append(errs, check.Invalid(path.Child("group"), g, check.DNSSubdomain(g))...)
	}
	errs = append(errs, segment(parent, path, "resource", true)...)
	errs = append(errs, segment(parent, path, "name", true)...)
	return append(errs, segment(parent, path, "namespace", false)...)
}

// parentShown is a parent as messages show it.
func parentShown(p map[string]any) any {
	if p == nil {
		return nil
	}
	return struct{ Group, Resource, Namespace, Name string }{
		tree.Str(p, "group"), tree.Str(p, "resource"), tree.Str(p, "namespace"), tree.Str(p, "name")}
}

// canonicalIP says what is wrong with the name of an IPAddress, which is the address.
func canonicalIP(name string) []string {
	var out []string
	for _, e := range validation.IsValidIP(nil, name) {
		out = append(out, e.Detail)
	}
	return out
}

func validateServiceCIDR(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Subresource == "status" {
		return nil
	}
	path := field.NewPath("spec", "cidrs")
	cidrs := tree.Strings(tree.Map(r.Object, "spec"), "cidrs")
	if r.Operation == resource.Update {
		was := tree.Strings(tree.Map(r.Old, "spec"), "cidrs")
		wider := len(was) == 1 && len(cidrs) == 2 // a second family
		if len(was) != len(cidrs) && !wider {
			return field.ErrorList{field.Invalid(path, cidrs, check.Immutable)}
		}
		var errs field.ErrorList
		for i, c := range was {
			if c != cidrs[i] {
				errs = append(errs, field.Invalid(path.Index(i), cidrs[i], check.Immutable))
			}
		}
		if wider {
			errs = append(errs, serviceRanges(cidrs, path)...)
		}
		return errs
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	return append(errs, serviceRanges(cidrs, path)...)
}

func serviceRanges(cidrs []string, path *field.Path) field.ErrorList {
	switch {
	case len(cidrs) == 0:
		return field.ErrorList{field.Required(path, "at least one CIDR required")}
	case len(cidrs) > 2:
		return field.ErrorList{field.Invalid(path, cidrs, "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, c := range cidrs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), c)...)
	}
	if len(cidrs) == 2 {
		family := netutils.IPFamilyOfCIDRString(cidrs[0])
		if family != netutils.IPFamilyUnknown && family == netutils.IPFamilyOfCIDRString(cidrs[1]) {
			errs = append(errs, field.Invalid(path, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}

func validateNetworkPolicy(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, check.Selector(tree.Map(spec, "podSelector"), path.Child("podSelector"))...)
	known := policyBlocks(r.Old)
	for _, d := range [...]struct{ key, peers string }{{"ingress", "from"}, {"egress", "to"}} {
		for i, v := range tree.List(spec, d.key) {
			rule, at := tree.Object(v), path.Child(d.key).Index(i)
			for j, p := range tree.List(rule, "ports") {
				errs = append(errs, policyPort(tree.Object(p), at.Child("ports").Index(j))...)
			}
			for j, p := range tree.List(rule, d.peers) {
				errs = append(errs, policyPeer(tree.Object(p), known, at.Child(d.peers).Index(j))...)
			}
		}
	}
	if types := tree.Strings(spec, "policyTypes"); len(types) > 2 {
		errs = append(errs, field.Invalid(path.Child("policyTypes"), types, "may not specify more than two policyTypes"))
	}
	return errs
}

// policyBlocks are the address ranges that a policy already names: they may stay as they are.
func policyBlocks(policy map[string]any) []string {
	var out []string
	spec := tree.Map(policy, "spec")
	for _, d := range [...]struct{ key, peers string }{{"ingress", "from"}, {"egress", "to"}} {
		for _, v := range tree.List(spec, d.key) {
			for _, p := range tree.List(tree.Object(v), d.peers) {
				if b := tree.Map(tree.Object(p), "ipBlock"); b != nil {
					out = append(append(out, tree.Str(b, "cidr")), tree.Strings(b, "except")...)
				}
			}
		}
	}
	return out
}

func policyPort(p map[string]any, at *field.Path) field.ErrorList {
	end, ranged := tree.Int(p, "endPort")
	wrong := func(value any, why string) field.ErrorList {
		return field.ErrorList{field.Invalid(at.Child("endPort"), value, why)}
	}
	switch port := p["port"].(type) {
	case nil:
		if ranged {
			return wrong(end, "may not be specified when `port` is not specified")
		}
		return nil
	case int64:
		errs := check.PortOrName(p, at, "port")
		if ranged && end < port {
			errs = append(errs, wrong(port, "must be greater than or equal to `port`")...)
		}
		if ranged {
			errs = append(errs, check.Port(at.Child("endPort"), end)...)
		}
		return errs
	}
	var errs field.ErrorList
	if ranged {
		errs = wrong(end, "may not be specified when `port` is non-numeric")
	}
	return append(errs, check.PortOrName(p, at, "port")...)
}

func policyPeer(p map[string]any, known []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	peers := 0
	for _, key := range [...]string{"podSelector", "namespaceSelector"} {
		if s, ok := p[key].(map[string]any); ok {
			peers++
			errs = append(errs, check.Selector(s, at.Child(key))...)
		}
	}
	block := tree.Map(p, "ipBlock")
	if block != nil {
		errs = append(errs, ipBlock(block, known, at.Child("ipBlock"))...)
	}
	switch {
	case block != nil && peers > 0:
		errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
	case block == nil && peers == 0:
		errs = append(errs, field.Required(at, "must specify a peer"))
	}
	return errs
}

func ipBlock(b map[string]any, known []string, path *field.Path) field.ErrorList {
	cidr := tree.Str(b, "cidr")
	if cidr == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := legacyCIDR(path.Child("cidr"), cidr, known)
	_, all, err := netutils.ParseCIDRSloppy(cidr)
	if err != nil {
		return errs
	}
	for i, e := range tree.Strings(b, "except") {
		at := path.Child("except").Index(i)
		errs = append(errs, legacyCIDR(at, e, known)...)
		_, except, err := netutils.ParseCIDRSloppy(e)
		if err != nil {
			continue
		}
		bits, _ := all.Mask.Size()
		if more, _ := except.Mask.Size(); !all.Contains(except.IP) || bits >= more {
			errs = append(errs, field.Invalid(at, e, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

// legacyCIDR checks a range in a field that has always taken what older parsers took, but
// for those that it already has.
func legacyCIDR(path *field.Path, s string, known []string) field.ErrorList {
	if slices.Contains(known, s) {
		return nil
	}
	return validation.IsValidCIDRForLegacyField(path, s, false, nil)
}
