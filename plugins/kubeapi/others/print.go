package others

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func printAge(o map[string]any) []any { return []any{show.Age(o)} }

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

func printStorageClass(o map[string]any) []any {
	return []any{
		withDefault(o, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"),
		tree.Str(o, "provisioner"), show.Or(tree.Str(o, "reclaimPolicy"), "Delete"),
		show.Or(tree.Str(o, "volumeBindingMode"), "Immediate"), tree.Bool(o, "allowVolumeExpansion"), show.Age(o),
	}
}

func printAttachment(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{
		tree.Str(spec, "attacher"), tree.Str(tree.Map(spec, "source"), "persistentVolumeName"), tree.Str(spec, "nodeName"),
		tree.Bool(tree.Map(o, "status"), "attached"), show.Age(o),
	}
}

func printAttributesClass(o map[string]any) []any {
	return []any{tree.Str(o, "driverName"), show.Age(o)}
}

func printCSIDriver(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	tokens := show.Unset
	if list, ok := spec["tokenRequests"].([]any); ok {
		var audiences []string
		for _, v := range list {
			audiences = append(audiences, tree.Str(tree.Object(v), "audience"))
		}
		tokens = strings.Join(audiences, ",")
	}
	attach, said := spec["attachRequired"].(bool)
	return []any{
		attach || !said, tree.Bool(spec, "podInfoOnMount"), tree.Bool(spec, "storageCapacity"), tokens,
		tree.Bool(spec, "requiresRepublish"),
		show.Or(strings.Join(tree.Strings(spec, "volumeLifecycleModes"), ","), show.None), show.Age(o),
	}
}

func printCSINode(o map[string]any) []any {
	return []any{int64(len(tree.List(tree.Map(o, "spec"), "drivers"))), show.Age(o)}
}

func printCapacity(o map[string]any) []any {
	return []any{tree.Str(o, "storageClassName"), show.Or(tree.Str(o, "capacity"), show.Unset)}
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

func printFlowSchema(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{
		tree.Str(tree.Map(spec, "priorityLevelConfiguration"), "name"), itoa(tree.Int0(spec, "matchingPrecedence")),
		show.Or(tree.Str(tree.Map(spec, "distinguisherMethod"), "type"), show.None), show.Age(o),
		show.Or(show.Condition(tree.Map(o, "status"), "Dangling"), "?"),
	}
}

func printPriorityLevel(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	limited := tree.Map(spec, "limited")
	queuing := tree.In(limited, "limitResponse", "queuing")
	number := func(m map[string]any, key string) string {
		if n, ok := tree.Int(m, key); ok {
			return itoa(n)
		}
		return show.None
	}
	return []any{
		tree.Str(spec, "type"), number(limited, "nominalConcurrencyShares"), number(queuing, "queues"),
		number(queuing, "handSize"), number(queuing, "queueLengthLimit"), show.Age(o),
	}
}

func printResourceClaim(o map[string]any) []any {
	status := tree.Map(o, "status")
	deleted := tree.Str(tree.Map(o, "metadata"), "deletionTimestamp") != ""
	var states []string
	if deleted {
		states = append(states, "deleted")
	}
	switch {
	case status["allocation"] != nil:
		states = append(states, "allocated")
		if len(tree.List(status, "reservedFor")) > 0 {
			states = append(states, "reserved")
		}
	case !deleted:
		states = append(states, "pending")
	}
	return []any{strings.Join(states, ","), show.Age(o)}
}

func printResourceSlice(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{tree.Str(spec, "nodeName"), tree.Str(spec, "driver"), tree.Str(tree.Map(spec, "pool"), "name"), show.Age(o)}
}
