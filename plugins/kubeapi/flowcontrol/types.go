package flowcontrol

import (
	"strconv"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const group = "flowcontrol.apiserver.k8s.io"

// Types returns the types of the group.
func Types() []define.Type {
	return []define.Type{
		{
			Definition: define.Kind(group, "v1", "FlowSchema", "flowschemas", define.Cluster, define.Status,
				define.Columns("PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL")),
			Hooks: hook.Kind{OnDefault: defaultSchema, OnPrepare: hook.DropStatus, OnValidate: hook.Typed(validateSchema), OnPrint: printSchema},
		},
		{
			Definition: define.Kind(group, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", define.Cluster, define.Status,
				define.Columns("Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age")),
			Hooks: hook.Kind{OnDefault: defaultLevel, OnPrepare: hook.DropStatus, OnValidate: hook.Typed(validateLevel), OnPrint: printLevel},
		},
	}
}

// What is meant by zero, which clients in Go send for what they do not set.
const (
	usualPrecedence = 1000
	usualQueues     = 64
	usualHand       = 8
	usualLength     = 50
)

func insteadOfZero(m map[string]any, key string, value int64) {
	if m != nil && tree.Int0(m, key) == 0 {
		m[key] = value
	}
}

func defaultSchema(r *resource.Request) {
	insteadOfZero(tree.Map(r.Object, "spec"), "matchingPrecedence", usualPrecedence)
}

func defaultLevel(r *resource.Request) {
	queuing := tree.In(r.Object, "spec", "limited", "limitResponse", "queuing")
	insteadOfZero(queuing, "queues", usualQueues)
	insteadOfZero(queuing, "handSize", usualHand)
	insteadOfZero(queuing, "queueLengthLimit", usualLength)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func printSchema(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{
		tree.Str(tree.Map(spec, "priorityLevelConfiguration"), "name"), itoa(tree.Int0(spec, "matchingPrecedence")),
		show.Or(tree.Str(tree.Map(spec, "distinguisherMethod"), "type"), show.None), show.Age(o),
		show.Or(show.Condition(tree.Map(o, "status"), "Dangling"), "?"),
	}
}

func printLevel(o map[string]any) []any {
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
