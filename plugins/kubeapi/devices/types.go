package devices

import (
	"strings"
	"time"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Types returns the types of the group.
func Types() []define.Type {
	kind := func(kind, plural string, hooks hook.Kind, options ...define.Option) define.Type {
		return define.Type{Definition: define.Kind("resource.k8s.io", "v1", kind, plural, options...), Hooks: hooks}
	}
	return []define.Type{
		kind("DeviceClass", "deviceclasses", hook.Kind{OnValidate: hook.Typed(validateClass), OnPrint: printAge},
			define.Cluster, define.ReturnDeleted, define.Columns("Age")),
		kind("ResourceClaim", "resourceclaims", hook.Kind{OnDefault: defaultClaim, OnPrepare: hook.DropStatus, OnValidate: hook.Typed(validateClaim), OnPrint: printClaim},
			define.Status, define.ReturnDeleted, define.Uncounted, define.Columns("State", "Age")),
		kind("ResourceClaimTemplate", "resourceclaimtemplates", hook.Kind{OnDefault: defaultTemplate, OnValidate: hook.Typed(validateTemplate), OnPrint: printAge},
			define.ReturnDeleted, define.Uncounted, define.Columns("Age")),
		kind("ResourceSlice", "resourceslices", hook.Kind{OnDefault: defaultSlice, OnValidate: hook.Typed(validateSlice), OnPrint: printSlice}, define.Cluster,
			define.Selectable(".spec.nodeName", ".spec.driver"),
			define.ReturnDeleted, define.Columns("Node", "Driver", "Pool", "Age")),
	}
}

func defaultClaim(r *resource.Request) { defaultSpec(tree.Map(r.Object, "spec")) }

func defaultTemplate(r *resource.Request) { defaultSpec(tree.In(r.Object, "spec", "spec")) }

// defaultSpec makes a request that does not say how many devices it wants want one.
func defaultSpec(spec map[string]any) {
	one := func(request map[string]any) {
		if request == nil {
			return
		}
		tree.SetDefault(request, "allocationMode", "ExactCount")
		if tree.Str(request, "allocationMode") == "ExactCount" && tree.Int0(request, "count") == 0 {
			request["count"] = int64(1)
		}
	}
	for _, v := range tree.List(tree.Map(spec, "devices"), "requests") {
		request := tree.Object(v)
		one(tree.Map(request, "exactly"))
		for _, alternative := range tree.List(request, "firstAvailable") {
			one(tree.Object(alternative))
		}
	}
}

// defaultSlice dates taints that have no date.
func defaultSlice(r *resource.Request) {
	for _, v := range tree.List(tree.Map(r.Object, "spec"), "devices") {
		for _, t := range tree.List(tree.Object(v), "taints") {
			if taint := tree.Object(t); taint != nil {
				tree.SetDefault(taint, "timeAdded", time.Now().UTC().Format(time.RFC3339))
			}
		}
	}
}

func printAge(o map[string]any) []any { return []any{show.Age(o)} }

func printClaim(o map[string]any) []any {
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

func printSlice(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{tree.Str(spec, "nodeName"), tree.Str(spec, "driver"), tree.Str(tree.Map(spec, "pool"), "name"), show.Age(o)}
}
