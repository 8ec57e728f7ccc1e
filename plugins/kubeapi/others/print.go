package others

import (
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func printLease(o map[string]any) []any {
	return []any{tree.Str(tree.Map(o, "spec"), "holderIdentity"), show.Age(o)}
}

func printSlice(o map[string]any) []any {
	var ports, addresses []string
	for _, v := range tree.List(o, "ports") {
		p := tree.Object(v)
		if n, ok := tree.Int(p, "port"); ok {
			ports = append(ports, itoa(n))
		} else if name, ok := p["name"].(string); ok {
			ports = append(ports, name)
		} else {
			ports = append(ports, "*")
		}
	}
	for _, v := range tree.List(o, "endpoints") {
		addresses = append(addresses, tree.Strings(tree.Object(v), "addresses")...)
	}
	return []any{tree.Str(o, "addressType"), show.First(ports), show.First(addresses), show.Age(o)}
}

func printBudget(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{
		show.IntOrString(spec["minAvailable"], "N/A"), show.IntOrString(spec["maxUnavailable"], "N/A"),
		tree.Int0(tree.Map(o, "status"), "disruptionsAllowed"), show.Age(o),
	}
}

func printRuntimeClass(o map[string]any) []any { return []any{tree.Str(o, "handler"), show.Age(o)} }

func printPriorityClass(o map[string]any) []any {
	return []any{tree.Int0(o, "value"), tree.Bool(o, "globalDefault"), show.Age(o), tree.Str(o, "preemptionPolicy")}
}

func printRequest(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	asked := show.None
	if n, ok := tree.Int(spec, "expirationSeconds"); ok {
		asked = duration.HumanDuration(time.Duration(n) * time.Second)
	}
	has := func(typ string) bool {
		for _, v := range tree.List(status, "conditions") {
			if tree.Str(tree.Object(v), "type") == typ {
				return true
			}
		}
		return false
	}
	state := "Pending"
	if has("Denied") {
		state = "Denied"
	} else if has("Approved") {
		state = "Approved"
	}
	if has("Failed") {
		state += ",Failed"
	}
	if tree.Str(status, "certificate") != "" {
		state += ",Issued"
	}
	return []any{show.Age(o), show.Or(tree.Str(spec, "signerName"), show.None), tree.Str(spec, "username"), asked, state}
}

func printWebhooks(o map[string]any) []any {
	return []any{int64(len(tree.List(o, "webhooks"))), show.Age(o)}
}

func printPolicy(list string) show.Func {
	return func(o map[string]any) []any {
		spec := tree.Map(o, "spec")
		param := show.Unset
		if p := tree.Map(spec, "paramKind"); p != nil {
			param = tree.Str(p, "apiVersion") + "/" + tree.Str(p, "kind")
		}
		return []any{int64(len(tree.List(spec, list))), param, show.Age(o)}
	}
}

func printPolicyBinding(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	param := show.Unset
	if p := tree.Map(spec, "paramRef"); p != nil {
		if name := tree.Str(p, "name"); name != "" {
			param = show.Or(tree.Str(p, "namespace"), "*") + "/" + name
		} else if s := tree.Map(p, "selector"); s != nil {
			param = show.Selector(s)
		}
	}
	return []any{tree.Str(spec, "policyName"), param, show.Age(o)}
}
