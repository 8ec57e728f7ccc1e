package others

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func prepareIngress(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create {
		r.Object["status"] = map[string]any{"loadBalancer": map[string]any{}}
	}
	return nil
}

func validateIngress(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource != "" {
		return errs
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
	for i, v := range tree.List(spec, "tls") {
		for j, h := range tree.Strings(tree.Object(v), "hosts") {
			errs = append(errs, ingressHost(h, path.Child("tls").Index(i).Child("hosts").Index(j))...)
		}
	}
	if c, ok := spec["ingressClassName"].(string); ok {
		errs = append(errs, check.Invalid(path.Child("ingressClassName"), c, check.DNSSubdomain(c))...)
	}
	return errs
}

func ingressHost(host string, path *field.Path) field.ErrorList {
	switch {
	case host == "":
		return nil
	case netutils.ParseIPSloppy(host) != nil:
		return field.ErrorList{field.Invalid(path, host, "must be a DNS name, not an IP address")}
	case strings.Contains(host, "*"):
		return check.Invalid(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return check.Invalid(path, host, check.DNSSubdomain(host))
}

func ingressPath(p map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	typ, value := tree.Str(p, "pathType"), tree.Str(p, "path")
	if typ == "" {
		return field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}
	}
	if typ != "ImplementationSpecific" && !strings.HasPrefix(value, "/") {
		errs = append(errs, field.Invalid(at.Child("path"), value, "must be an absolute path"))
	}
	return append(errs, ingressBackend(tree.Map(p, "backend"), at.Child("backend"))...)
}

func ingressBackend(b map[string]any, at *field.Path) field.ErrorList {
	service, other := tree.Map(b, "service"), tree.Map(b, "resource")
	switch {
	case service != nil && other != nil:
		return field.ErrorList{field.Invalid(at, "", "cannot set both resource and service backends")}
	case other != nil:
		return nil
	case service == nil:
		return field.ErrorList{field.Required(at, "resource or service backend is required")}
	}
	var errs field.ErrorList
	if name := tree.Str(service, "name"); name == "" {
		errs = append(errs, field.Required(at.Child("service", "name"), ""))
	} else {
		errs = append(errs, check.Invalid(at.Child("service", "name"), name, validation.IsDNS1035Label(name))...)
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

func defaultNetworkPolicy(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	if spec == nil || len(tree.List(spec, "policyTypes")) > 0 {
		return
	}
	types := []string{"Ingress"}
	if len(tree.List(spec, "egress")) > 0 {
		types = append(types, "Egress")
	}
	spec["policyTypes"] = tree.Of(types...)
}

func validateNetworkPolicy(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, check.Selector(tree.Map(spec, "podSelector"), path.Child("podSelector"))...)
	for _, d := range [...]struct{ key, peers string }{{"ingress", "from"}, {"egress", "to"}} {
		for i, v := range tree.List(spec, d.key) {
			rule, at := tree.Object(v), path.Child(d.key).Index(i)
			for j, p := range tree.List(rule, "ports") {
				errs = append(errs, policyPort(tree.Object(p), at.Child("ports").Index(j))...)
			}
			for j, p := range tree.List(rule, d.peers) {
				errs = append(errs, policyPeer(tree.Object(p), at.Child(d.peers).Index(j))...)
			}
		}
	}
	return errs
}

func policyPort(p map[string]any, at *field.Path) field.ErrorList {
	end, ranged := tree.Int(p, "endPort")
	port := p["port"]
	if port == nil {
		if ranged {
			return field.ErrorList{field.Required(at.Child("port"), "must be specified if `endPort` is specified")}
		}
		return nil
	}
	errs := check.PortOrName(p, at, "port")
	if n, ok := port.(int64); ranged && ok && end < n {
		errs = append(errs, field.Invalid(at.Child("endPort"), end, "must be greater than or equal to `port`"))
	} else if ranged && !ok {
		errs = append(errs, field.Required(at.Child("endPort"), "may not be specified when `port` is non-numeric"))
	}
	return errs
}

func policyPeer(p map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	peers := 0
	for _, key := range [...]string{"podSelector", "namespaceSelector"} {
		if s, ok := p[key].(map[string]any); ok {
			peers++
			errs = append(errs, check.Selector(s, at.Child(key))...)
		}
	}
	block := tree.Map(p, "ipBlock")
	switch {
	case block != nil && peers > 0:
		errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
	case block == nil && peers == 0:
		errs = append(errs, field.Required(at, "must specify a peer"))
	case block != nil:
		cidr := tree.Str(block, "cidr")
		if cidr == "" {
			errs = append(errs, field.Required(at.Child("ipBlock", "cidr"), ""))
		} else if _, _, err := netutils.ParseCIDRSloppy(cidr); err != nil {
			errs = append(errs, field.Invalid(at.Child("ipBlock", "cidr"), cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
		}
	}
	return errs
}

func printIngress(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	var hosts []string
	rules := tree.List(spec, "rules")
	for _, v := range rules {
		if h := tree.Str(tree.Object(v), "host"); h != "" {
			hosts = append(hosts, h)
		}
	}
	shown := "*"
	if len(hosts) > 0 {
		shown = show.First(hosts)
	}
	ports := "80"
	if len(tree.List(spec, "tls")) > 0 {
		ports = "80, 443"
	}
	return []any{
		show.Or(tree.Str(spec, "ingressClassName"), show.None), shown,
		show.LoadBalancer(tree.In(o, "status", "loadBalancer")), ports, show.Age(o),
	}
}

// withDefault marks the name of an object that is its kind's default.
func withDefault(o map[string]any, annotations ...string) string {
	meta := tree.Map(o, "metadata")
	name := tree.Str(meta, "name")
	for _, a := range annotations {
		if tree.Str(tree.Map(meta, "annotations"), a) == "true" {
			return name + " (default)"
		}
	}
	return name
}

func printIngressClass(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	shown := show.None
	if p := tree.Map(spec, "parameters"); p != nil {
		shown = tree.Str(p, "kind")
		if g := tree.Str(p, "apiGroup"); g != "" {
			shown += "." + g
		}
		shown += "/" + tree.Str(p, "name")
	}
	return []any{withDefault(o, "ingressclass.kubernetes.io/is-default-class"), tree.Str(spec, "controller"), shown, show.Age(o)}
}

func printNetworkPolicy(o map[string]any) []any {
	return []any{show.Selector(tree.In(o, "spec", "podSelector")), show.Age(o)}
}

func printServiceCIDR(o map[string]any) []any {
	return []any{strings.Join(tree.Strings(tree.Map(o, "spec"), "cidrs"), ","), show.Age(o)}
}

func printIPAddress(o map[string]any) []any {
	shown := show.None
	if p := tree.In(o, "spec", "parentRef"); p != nil {
		shown = tree.Str(p, "resource")
		if g := tree.Str(p, "group"); g != "" {
			shown += "." + g
		}
		if n := tree.Str(p, "namespace"); n != "" {
			shown += "/" + n
		}
		shown += "/" + tree.Str(p, "name")
	}
	return []any{strings.ToLower(shown), show.Age(o)}
}

// canonicalIP says what is wrong with the name of an IPAddress, which is the address.
func canonicalIP(name string) []string {
	ip, err := netip.ParseAddr(name)
	switch {
	case err != nil:
		return []string{"must be a valid IP address"}
	case ip.String() != name || ip.Is4In6() || ip.Zone() != "":
		return []string{fmt.Sprintf("must be in canonical form (%q)", ip.Unmap().WithZone("").String())}
	}
	return nil
}
