package others

import (
	"context"
	"strconv"
	"strings"

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
	return []any{strings.ToLower(shown)}
}
