package apps

import (
	"context"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/core"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// next returns the number after a number.
func next(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return "1"
	}
	return strconv.FormatInt(n+1, 10)
}

// selectorOf checks spec.selector and that the template's labels match it. where names the
// kind in the message about an empty selector, as upstream has it.
func selectorOf(spec map[string]any, path *field.Path, where string) field.ErrorList {
	raw, given := spec["selector"].(map[string]any)
	at := path.Child("selector")
	var errs field.ErrorList
	have := tree.StringMap(tree.In(spec, "template", "metadata"), "labels")
	mismatch := field.Invalid(path.Child("template", "metadata", "labels"), have, "`selector` does not match template `labels`")
	if !given {
		// No selector selects nothing.
		return field.ErrorList{field.Required(at, ""), mismatch}
	}
	errs = append(errs, check.Selector(raw, at)...)
	if len(tree.Map(raw, "matchLabels"))+len(tree.List(raw, "matchExpressions")) == 0 {
		errs = append(errs, field.Invalid(at, raw, "empty selector is invalid for "+where))
		return errs
	}
	typed, err := tree.Typed[metav1.LabelSelector](raw)
	if err != nil {
		return append(errs, field.Invalid(at, raw, "invalid label selector"))
	}
	selector, err := metav1.LabelSelectorAsSelector(typed)
	if err != nil {
		return append(errs, field.Invalid(at, raw, "invalid label selector"))
	}
	if !selector.Matches(labels.Set(have)) {
		errs = append(errs, mismatch)
	}
	return errs
}

func template(spec map[string]any, path *field.Path, kind string) field.ErrorList {
	t, at := tree.Map(spec, "template"), path.Child("template")
	if t == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := podspec.ValidateTemplate(t, at)
	return append(errs, podspec.AlwaysRestarts(t, at, kind)...)
}

func validateDeployment(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource == "status" {
		return append(errs, replicaCounts(tree.Map(r.Object, "status"), "updatedReplicas")...)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, check.NonNegative(spec, path, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")...)
	errs = append(errs, selectorOf(spec, path, "deployment")...)
	errs = append(errs, template(spec, path, "ReplicaSet")...)
	errs = append(errs, deploymentStrategy(tree.Map(spec, "strategy"), path.Child("strategy"))...)
	if d, ok := tree.Int(spec, "progressDeadlineSeconds"); ok && d <= tree.Int0(spec, "minReadySeconds") {
		errs = append(errs, field.Invalid(path.Child("progressDeadlineSeconds"), d, "must be greater than minReadySeconds"))
	}
	return append(errs, selectorKept(r, path)...)
}

// selectorKept checks that an update leaves the selector as it was.
func selectorKept(r *resource.Request, path *field.Path) field.ErrorList {
	if r.Operation != resource.Update {
		return nil
	}
	return check.Unchanged(path.Child("selector"), tree.In(r.Object, "spec")["selector"], tree.In(r.Old, "spec")["selector"])
}

func deploymentStrategy(s map[string]any, path *field.Path) field.ErrorList {
	rolling, at := tree.Map(s, "rollingUpdate"), path.Child("rollingUpdate")
	switch tree.Str(s, "type") {
	case "Recreate":
		if rolling != nil {
			return field.ErrorList{field.Forbidden(at, "may not be specified when strategy `type` is 'Recreate'")}
		}
	case "RollingUpdate":
		errs := amount(rolling["maxUnavailable"], at.Child("maxUnavailable"))
		errs = append(errs, amount(rolling["maxSurge"], at.Child("maxSurge"))...)
		if value(rolling["maxUnavailable"]) == 0 && value(rolling["maxSurge"]) == 0 {
			errs = append(errs, field.Invalid(at.Child("maxUnavailable"), rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"))
		}
		return append(errs, check.NotOverAll(rolling["maxUnavailable"], at.Child("maxUnavailable"))...)
	}
	return nil
}

func amount(v any, path *field.Path) field.ErrorList { return check.IntOrPercent(v, path) }

// value returns the number before a percent sign, or the number.
func value(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, err := strconv.ParseInt(strings.TrimSuffix(v, "%"), 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// replicaCounts checks the counts of a status against each other.
func replicaCounts(status map[string]any, more ...string) field.ErrorList {
	path := field.NewPath("status")
	counts := append([]string{"replicas"}, more...)
	counts = append(counts, "readyReplicas", "availableReplicas", "observedGeneration")
	errs := check.NonNegative(status, path, counts...)
	total := tree.Int0(status, "replicas")
	for _, key := range counts[1 : len(counts)-1] {
		if n := tree.Int0(status, key); n > total {
			errs = append(errs, field.Invalid(path.Child(key), n, "cannot be greater than status.replicas"))
		}
	}
	if n := tree.Int0(status, "availableReplicas"); n > tree.Int0(status, "readyReplicas") {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), n, "cannot be greater than readyReplicas"))
	}
	return errs
}

func validateReplicaSet(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource == "status" {
		return append(errs, replicaCounts(tree.Map(r.Object, "status"), "fullyLabeledReplicas")...)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, check.NonNegative(spec, path, "replicas", "minReadySeconds")...)
	errs = append(errs, selectorOf(spec, path, "deployment")...)
	errs = append(errs, template(spec, path, "ReplicaSet")...)
	return append(errs, selectorKept(r, path)...)
}

func validateStatefulSet(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSLabel)
	if r.Subresource == "status" {
		return append(errs, check.NonNegative(tree.Map(r.Object, "status"), field.NewPath("status"),
			"replicas", "readyReplicas", "currentReplicas", "updatedReplicas")...)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	strategy := tree.Map(spec, "updateStrategy")
	rolling := tree.Map(strategy, "rollingUpdate")
	at := path.Child("updateStrategy", "rollingUpdate")
	switch typ := tree.Str(strategy, "type"); typ {
	case "RollingUpdate":
	case "OnDelete":
		if rolling != nil {
			errs = append(errs, field.Invalid(at, rolling, "only allowed for updateStrategy 'RollingUpdate'"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("updateStrategy"), strategy, "must be 'RollingUpdate' or 'OnDelete'"))
	}
	if p := tree.Str(spec, "podManagementPolicy"); p != "OrderedReady" && p != "Parallel" {
		errs = append(errs, field.Invalid(path.Child("podManagementPolicy"), p, "must be 'OrderedReady' or 'Parallel'"))
	}
	errs = append(errs, retention(tree.Map(spec, "persistentVolumeClaimRetentionPolicy"), path.Child("persistentVolumeClaimRetentionPolicy"))...)
	errs = append(errs, check.NonNegative(rolling, at, "partition")...)
	errs = append(errs, check.NonNegative(spec, path, "replicas", "minReadySeconds")...)
	errs = append(errs, check.NonNegative(tree.Map(spec, "ordinals"), path.Child("ordinals"), "start")...)
	if name := tree.Str(spec, "serviceName"); name != "" && r.Operation == resource.Create {
		errs = append(errs, check.Invalid(path.Child("serviceName"), name, check.DNSLabel(name))...)
	}
	errs = append(errs, selectorOf(spec, path, "statefulset")...)
	errs = append(errs, template(withClaims(spec), path, "StatefulSet")...)
	if r.Operation == resource.Create {
		for i, v := range tree.List(spec, "volumeClaimTemplates") {
			errs = append(errs, core.ValidateClaimSpec(tree.Map(tree.Object(v), "spec"), path.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
		}
		return errs
	}
	now, was := tree.CopyMap(spec), tree.CopyMap(tree.Map(r.Old, "spec"))
	for _, m := range []map[string]any{now, was} {
		for _, key := range [...]string{"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
			"persistentVolumeClaimRetentionPolicy", "minReadySeconds"} {
			delete(m, key)
		}
	}
	if !tree.Equal(now, was) {
		errs = append(errs, field.Forbidden(path, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
	}
	return errs
}

// withClaims returns the spec with a volume for each claim template, as pods will have.
func withClaims(spec map[string]any) map[string]any {
	claims := tree.List(spec, "volumeClaimTemplates")
	if len(claims) == 0 {
		return spec
	}
	out := tree.CopyMap(spec)
	pod := tree.Ensure(tree.Ensure(out, "template"), "spec")
	names := map[string]bool{}
	var volumes []any
	for _, v := range claims {
		name := tree.Str(tree.Map(tree.Object(v), "metadata"), "name")
		names[name] = true
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name}})
	}
	for _, v := range tree.List(pod, "volumes") {
		if !names[tree.Str(tree.Object(v), "name")] {
			volumes = append(volumes, v)
		}
	}
	pod["volumes"] = volumes
	return out
}

// retention checks what becomes of claims whose pod is gone.
func retention(policy map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range [...]string{"whenDeleted", "whenScaled"} {
		if p := tree.Str(policy, key); policy != nil && p != "Retain" && p != "Delete" {
			errs = append(errs, field.NotSupported(path.Child(key), p, []string{"Retain", "Delete"}))
		}
	}
	return errs
}

func validateDaemonSet(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource == "status" {
		return append(errs, check.NonNegative(tree.Map(r.Object, "status"), field.NewPath("status"),
			"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
			"updatedNumberScheduled", "numberAvailable", "numberUnavailable")...)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, selectorOf(spec, path, "daemonset")...)
	errs = append(errs, template(spec, path, "DaemonSet")...)
	errs = append(errs, check.NonNegative(spec, path, "minReadySeconds", "revisionHistoryLimit")...)
	strategy := tree.Map(spec, "updateStrategy")
	switch tree.Str(strategy, "type") {
	case "OnDelete":
	case "RollingUpdate":
		rolling, at := tree.Map(strategy, "rollingUpdate"), path.Child("updateStrategy", "rollingUpdate")
		for _, key := range [...]string{"maxUnavailable", "maxSurge"} {
			errs = append(errs, amount(rolling[key], at.Child(key))...)
			errs = append(errs, check.NotOverAll(rolling[key], at.Child(key))...)
		}
		switch down, up := value(rolling["maxUnavailable"]), value(rolling["maxSurge"]); {
		case down != 0 && up != 0:
			errs = append(errs, field.Invalid(at.Child("maxSurge"), rolling["maxSurge"], "may not be set when maxUnavailable is non-zero"))
		case down == 0 && up == 0:
			errs = append(errs, field.Required(at.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("updateStrategy"), strategy, []string{"RollingUpdate", "OnDelete"}))
	}
	return append(errs, selectorKept(r, path)...)
}

func validateRevision(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if n := tree.Int0(r.Object, "revision"); n < 0 {
		errs = append(errs, field.Invalid(field.NewPath("revision"), n, check.NotNegative))
	}
	at := field.NewPath("data")
	switch data := r.Object["data"].(type) {
	case map[string]any:
		if r.Operation == resource.Update {
			errs = append(errs, check.Unchanged(at, data, r.Old["data"])...)
		}
	case nil:
		errs = append(errs, field.Required(at, "data is mandatory"))
	default:
		errs = append(errs, field.Required(at, "data must be a valid JSON object"))
	}
	return errs
}
