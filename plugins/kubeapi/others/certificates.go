package others

import (
	"context"
	"slices"
	"time"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// prepareRequest records who asks for a certificate; later nobody changes it. What is said
// of a request afterwards gets its times.
func prepareRequest(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create {
		requester(tree.Ensure(r.Object, "spec"), r.User)
		r.Object["status"] = map[string]any{}
		return nil
	}
	r.Object["spec"] = tree.CopyMap(tree.Map(r.Old, "spec"))
	switch r.Subresource {
	case "approval":
		// Only the conditions of an approval are the approver's to set.
		status := tree.CopyMap(tree.Map(r.Old, "status"))
		if status == nil {
			status = map[string]any{}
		}
		status["conditions"] = tree.In(r.Object, "status")["conditions"]
		r.Object["status"] = status
		stampConditions(r.Object, r.Old)
	case "status":
		for _, typ := range [...]string{"Approved", "Denied"} {
			keepConditions(r.Object, r.Old, typ)
		}
		stampConditions(r.Object, r.Old)
	}
	return nil
}

func requester(spec map[string]any, user resource.User) {
	spec["username"] = user.Name
	delete(spec, "uid")
	if user.UID != "" {
		spec["uid"] = user.UID
	}
	spec["groups"] = tree.Of(user.Groups...)
	delete(spec, "extra")
	if len(user.Extra) > 0 {
		extra := map[string]any{}
		for k, v := range user.Extra {
			extra[k] = tree.Of(v...)
		}
		spec["extra"] = extra
	}
}

// conditionsOf are the places of the conditions of one type.
func conditionsOf(object map[string]any, typ string) []int {
	var at []int
	for i, v := range tree.List(tree.Map(object, "status"), "conditions") {
		if tree.Str(tree.Object(v), "type") == typ {
			at = append(at, i)
		}
	}
	return at
}

// keepConditions puts back the conditions of a type as they were, unless some came or went,
// which is refused later.
func keepConditions(object, old map[string]any, typ string) {
	is, was := conditionsOf(object, typ), conditionsOf(old, typ)
	if len(is) == 0 || len(is) != len(was) {
		return
	}
	list, before := tree.List(tree.Map(object, "status"), "conditions"), tree.List(tree.Map(old, "status"), "conditions")
	for i, at := range is {
		list[at] = tree.Copy(before[was[i]])
	}
}

// stampConditions sets the times that conditions lack: that of the last transition stays
// while the status is what it was.
func stampConditions(object, old map[string]any) {
	now := time.Now().UTC().Format(time.RFC3339)
	before := tree.List(tree.Map(old, "status"), "conditions")
	for _, v := range tree.List(tree.Map(object, "status"), "conditions") {
		c, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if tree.Str(c, "lastUpdateTime") == "" {
			c["lastUpdateTime"] = now
		}
		if tree.Str(c, "lastTransitionTime") != "" {
			continue
		}
		c["lastTransitionTime"] = now
		if i := slices.IndexFunc(before, func(v any) bool {
			b := tree.Object(v)
			return b["type"] == c["type"] && b["status"] == c["status"] && tree.Str(b, "lastTransitionTime") != ""
		}); i >= 0 {
			c["lastTransitionTime"] = tree.Object(before[i])["lastTransitionTime"]
		}
	}
}
