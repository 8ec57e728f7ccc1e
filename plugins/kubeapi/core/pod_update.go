package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
)

// updatable names the fields of a spec that may change, as upstream's refusal does.
const updatable = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

func validatePodUpdate(pod, old map[string]any) field.ErrorList {
	spec, was := tree.Map(pod, "spec"), tree.Map(old, "spec")
	path := field.NewPath("spec")
	if tree.Equal(spec, was) {
		return nil
	}
	errs := validatePod(pod)
	for _, list := range [...]string{"containers", "initContainers"} {
		if len(tree.List(spec, list)) != len(tree.List(was, list)) {
			return append(errs, field.Forbidden(path.Child(list), "pod updates may not add or remove containers"))
		}
	}
	deadline, stop := deadlineUpdate(spec, was, path.Child("activeDeadlineSeconds"))
	errs = append(errs, deadline...)
	if stop {
		return errs
	}
	errs = append(errs, tolerationUpdate(spec, was, path.Child("tolerations"))...)
	errs = append(errs, gateUpdate(spec, was, path.Child("schedulingGates"))...)

	rest := withoutUpdatable(spec, was)
	if len(tree.List(was, "schedulingGates")) > 0 {
		errs = append(errs, gatedUpdate(rest, was, path)...)
	}
	if !tree.Equal(rest, was) {
		errs = append(errs, field.Forbidden(path,
			fmt.Sprintf("pod updates may not change fields other than %s\n%s", updatable, difference(rest, was))))
	}
	return errs
}

func deadlineUpdate(spec, was map[string]any, path *field.Path) (errs field.ErrorList, stop bool) {
	deadline, has := tree.Int(spec, "activeDeadlineSeconds")
	before, had := tree.Int(was, "activeDeadlineSeconds")
	switch {
	case has && (deadline < 0 || deadline > math.MaxInt32):
		return field.ErrorList{field.Invalid(path, deadline, validation.InclusiveRangeError(0, math.MaxInt32))}, true
	case has && had && before < deadline:
		return field.ErrorList{field.Invalid(path, deadline, "must be less than or equal to previous value")}, true
	case !has && had:
		return field.ErrorList{field.Invalid(path, nil, "must not update from a positive integer to nil value")}, false
	}
	return nil, false
}

// tolerationUpdate allows new tolerations, and another tolerationSeconds of old ones.
func tolerationUpdate(spec, was map[string]any, path *field.Path) field.ErrorList {
	bare := func(v any) map[string]any {
		t := maps.Clone(tree.Object(v))
		delete(t, "tolerationSeconds")
		return t
	}
	for _, o := range tree.List(was, "tolerations") {
		kept := slices.ContainsFunc(tree.List(spec, "tolerations"), func(n any) bool { return tree.Equal(bare(n), bare(o)) })
		if !kept {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return podspec.ValidateTolerations(tree.List(spec, "tolerations"), path)
}

func gateUpdate(spec, was map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	old := map[string]bool{}
	for _, g := range tree.List(was, "schedulingGates") {
		old[tree.Str(tree.Object(g), "name")] = true
	}
	for i, g := range tree.List(spec, "schedulingGates") {
		if name := tree.Str(tree.Object(g), "name"); !old[name] {
			errs = append(errs, field.Forbidden(path.Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", name)))
		}
	}
	return errs
}

// withoutUpdatable returns the spec with the updatable fields as they were.
func withoutUpdatable(spec, was map[string]any) map[string]any {
	rest := maps.Clone(spec)
	for _, list := range [...]string{"containers", "initContainers"} {
		containers := slices.Clone(tree.List(spec, list))
		for i, v := range containers {
			c := maps.Clone(tree.Object(v))
			c["image"] = tree.Object(tree.List(was, list)[i])["image"]
			containers[i] = c
		}
		if containers != nil {
			rest[list] = containers
		}
	}
	for _, key := range [...]string{"activeDeadlineSeconds", "schedulingGates", "tolerations"} {
		set(rest, key, was[key])
	}
	if g, ok := tree.Int(was, "terminationGracePeriodSeconds"); ok && g < 0 && tree.Int0(spec, "terminationGracePeriodSeconds") == 1 {
		rest["terminationGracePeriodSeconds"] = g
	}
	return rest
}

func set(m map[string]any, key string, value any) {
	if value == nil {
		delete(m, key)
		return
	}
	m[key] = value
}

// gatedUpdate allows the node selector and the node affinity of a pod that is not yet
// scheduled to become narrower, and puts them back into rest.
func gatedUpdate(rest, was map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	selector := tree.Map(rest, "nodeSelector")
	for k, v := range tree.Map(was, "nodeSelector") {
		if selector[k] != v {
			errs = append(errs, field.Invalid(path.Child("nodeSelector"), selector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
			break
		}
	}
	set(rest, "nodeSelector", was["nodeSelector"])

	const required = "requiredDuringSchedulingIgnoredDuringExecution"
	at := path.Child("affinity", "nodeAffinity")
	before := tree.In(was, "affinity", "nodeAffinity")
	after := tree.In(rest, "affinity", "nodeAffinity")
	if before != nil && tree.Map(before, required) != nil {
		errs = append(errs, termsNarrowed(tree.Map(after, required), tree.Map(before, required), at.Child(required))...)
	}
	affinity := maps.Clone(tree.Map(rest, "affinity"))
	if affinity == nil {
		affinity = map[string]any{}
	}
	if before == nil {
		delete(affinity, "nodeAffinity")
	} else {
		affinity["nodeAffinity"] = before
	}
	set(rest, "affinity", any(affinity))
	return errs
}

// termsNarrowed checks that every term still says what it said, and maybe more.
func termsNarrowed(after, before map[string]any, path *field.Path) field.ErrorList {
	old, now := tree.List(before, "nodeSelectorTerms"), tree.List(after, "nodeSelectorTerms")
	at := path.Child("nodeSelectorTerms")
	if len(old) == 0 {
		return nil
	}
	if len(old) != len(now) {
		return field.ErrorList{field.Invalid(at, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range old {
		for _, key := range [...]string{"matchExpressions", "matchFields"} {
			have := tree.List(tree.Object(now[i]), key)
			want := tree.List(tree.Object(old[i]), key)
			if len(have) < len(want) || !tree.Equal(have[:len(want)], want) {
				errs = append(errs, field.Invalid(at.Index(i), now[i], "only additions are allowed (no mutations or deletions)"))
			}
		}
	}
	return errs
}

// difference lists the fields that differ, with their values.
func difference(now, was map[string]any) string {
	names := maps.Clone(now)
	maps.Copy(names, was)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if tree.Equal(now[key], was[key]) {
			continue
		}
		fmt.Fprintf(&b, "- spec.%s: %s\n+ spec.%s: %s\n", key, text(was[key]), key, text(now[key]))
	}
	return b.String()
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func validatePodStatus(pod, old map[string]any) field.ErrorList {
	var errs field.ErrorList
	status, was := tree.Map(pod, "status"), tree.Map(old, "status")
	path := field.NewPath("status")
	if n := tree.Str(status, "nominatedNodeName"); n != "" {
		errs = append(errs, check.Invalid(path.Child("nominatedNodeName"), n, check.DNSSubdomain(n))...)
	}
	if g, ok := tree.Int(status, "observedGeneration"); ok && g < 0 {
		errs = append(errs, field.Invalid(path.Child("observedGeneration"), g, "must be a non-negative integer"))
	}
	policy := tree.Str(tree.Map(pod, "spec"), "restartPolicy")
	if policy == "Never" || policy == "OnFailure" {
		errs = append(errs, noRevival(status, was, path.Child("containerStatuses"), policy)...)
	}
	for i, v := range tree.List(status, "podIPs") {
		errs = append(errs, check.IP(path.Child("podIPs").Index(i), tree.Str(tree.Object(v), "ip"))...)
	}
	return errs
}

// noRevival checks that what has ended for good does not run again.
func noRevival(status, was map[string]any, path *field.Path, policy string) field.ErrorList {
	ended := map[string]bool{}
	for _, v := range tree.List(was, "containerStatuses") {
		c := tree.Object(v)
		t := tree.In(c, "state", "terminated")
		if t != nil && (policy == "Never" || tree.Int0(t, "exitCode") == 0) {
			ended[tree.Str(c, "name")] = true
		}
	}
	var errs field.ErrorList
	for i, v := range tree.List(status, "containerStatuses") {
		c := tree.Object(v)
		if ended[tree.Str(c, "name")] && tree.In(c, "state", "terminated") == nil {
			errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
		}
	}
	return errs
}

func validateEphemeral(pod, old map[string]any) field.ErrorList {
	if _, static := tree.In(pod, "metadata", "annotations")["kubernetes.io/config.mirror"]; static {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	errs := validatePod(pod)
	path := field.NewPath("spec", "ephemeralContainers")
	now := map[string]any{}
	for _, v := range tree.List(tree.Map(pod, "spec"), "ephemeralContainers") {
		now[tree.Str(tree.Object(v), "name")] = v
	}
	for _, v := range tree.List(tree.Map(old, "spec"), "ephemeralContainers") {
		name := tree.Str(tree.Object(v), "name")
		switch c, ok := now[name]; {
		case !ok:
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", name)))
		case !tree.Equal(c, v):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%s", name, text(c))))
		}
	}
	return errs
}

func validateResize(pod, old map[string]any) field.ErrorList {
	errs := validatePod(pod)
	if class := podspec.QOSClass(tree.Map(old, "spec")); class != podspec.QOSClass(tree.Map(pod, "spec")) {
		errs = append(errs, field.Invalid(field.NewPath("spec"), class, "Pod QOS Class may not change as a result of resizing"))
	}
	return errs
}
