package others

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// The most that a job's policies may say.
const (
	maxPolicyRules = 20
	maxExitCodes   = 255
	maxPatterns    = 20
	maxIndexesText = 64 << 10
)

// failurePolicy checks what is done about pods that fail.
func failurePolicy(p *batchv1.PodFailurePolicy, spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(p.Rules) > maxPolicyRules {
		errs = append(errs, field.TooMany(path, len(p.Rules), maxPolicyRules))
	}
	names := map[string]bool{}
	pod := tree.In(spec, "template", "spec")
	for _, list := range [...]string{"containers", "initContainers"} {
		for _, c := range tree.List(pod, list) {
			names[tree.Str(tree.Object(c), "name")] = true
		}
	}
	for i := range p.Rules {
		r, at := &p.Rules[i], path.Index(i)
		errs = append(errs, oneOf(at.Child("action"), string(r.Action), "Count", "FailIndex", "FailJob", "Ignore")...)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && spec["backoffLimitPerIndex"] == nil {
			errs = append(errs, field.Invalid(at.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
		}
		if r.OnExitCodes != nil {
			errs = append(errs, exitCodes(r.OnExitCodes, names, at.Child("onExitCodes"))...)
		}
		errs = append(errs, podConditions(r.OnPodConditions, at.Child("onPodConditions"))...)
		switch codes, conditions := r.OnExitCodes != nil, len(r.OnPodConditions) > 0; {
		case codes && conditions:
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
		case !codes && !conditions:
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
		}
	}
	return errs
}

// oneOf checks a value that has to be there and to be one of some.
func oneOf(path *field.Path, value string, values ...string) field.ErrorList {
	switch {
	case value == "":
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q", values))}
	case !slices.Contains(values, value):
		return field.ErrorList{field.NotSupported(path, value, values)}
	}
	return nil
}

func exitCodes(c *batchv1.PodFailurePolicyOnExitCodesRequirement, containers map[string]bool, path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("operator"), string(c.Operator), "In", "NotIn")
	if c.ContainerName != nil && !containers[*c.ContainerName] {
		errs = append(errs, field.Invalid(path.Child("containerName"), *c.ContainerName, "must be one of the container or initContainer names in the pod template"))
	}
	at := path.Child("values")
	switch n := len(c.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(at, c.Values, "at least one value is required"))
	case n > maxExitCodes:
		errs = append(errs, field.TooMany(at, n, maxExitCodes))
	}
	seen := map[int32]bool{}
	for i, v := range c.Values {
		if v == 0 && c.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn {
			errs = append(errs, field.Invalid(at.Index(i), v, "must not be 0 for the In operator"))
		}
		if seen[v] {
			errs = append(errs, field.Duplicate(at.Index(i), v))
		}
		seen[v] = true
	}
	if !slices.IsSorted(c.Values) {
		errs = append(errs, field.Invalid(at, c.Values, "must be ordered"))
	}
	return errs
}

func podConditions(patterns []batchv1.PodFailurePolicyOnPodConditionsPattern, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(patterns) > maxPatterns {
		errs = append(errs, field.TooMany(path, len(patterns), maxPatterns))
	}
	for i, p := range patterns {
		at := path.Index(i)
		errs = append(errs, check.Invalid(at.Child("type"), string(p.Type), validation.IsQualifiedName(string(p.Type)))...)
		errs = append(errs, oneOf(at.Child("status"), string(p.Status), "False", "True", "Unknown")...)
	}
	return errs
}

// successPolicy checks when a job is done though not all of its pods are.
func successPolicy(p *batchv1.SuccessPolicy, completions int64, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch n := len(p.Rules); {
	case n == 0:
		errs = append(errs, field.Required(path, "at least one rules must be specified when the successPolicy is specified"))
	case n > maxPolicyRules:
		errs = append(errs, field.TooMany(path, n, maxPolicyRules))
	}
	for i := range p.Rules {
		r, at := &p.Rules[i], path.Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			errs = append(errs, field.Required(at, "at least one of succeededCount or succeededIndexes must be specified"))
		}
		named := int64(0)
		if s := r.SucceededIndexes; s != nil {
			indexes := at.Child("succeededIndexes")
			if len(*s) > maxIndexesText {
				errs = append(errs, field.TooLong(indexes, "", maxIndexesText))
			}
			var wrong string
			if named, wrong = countIndexes(*s, completions); wrong != "" {
				errs = append(errs, field.Invalid(indexes, *s, "error parsing succeededIndexes: "+wrong))
			}
		}
		if n := r.SucceededCount; n != nil {
			count := at.Child("succeededCount")
			errs = append(errs, nonNegative(int64(*n), count)...)
			if int64(*n) > completions {
				errs = append(errs, field.Invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
			}
			if r.SucceededIndexes != nil && int64(*n) > named {
				errs = append(errs, field.Invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", named)))
			}
		}
	}
	return errs
}

// countIndexes returns how many indexes a text such as "1,3-5,7" names, or what is wrong
// with it. They ascend and are less than completions.
func countIndexes(text string, completions int64) (count int64, wrong string) {
	if text == "" {
		return 0, ""
	}
	last := int64(-1)
	for part := range strings.SplitSeq(text, ",") {
		from, to, wrong := indexInterval(part, completions)
		switch {
		case wrong != "":
			return 0, wrong
		case last >= from:
			return 0, notAscending(last, from)
		}
		count += to - from + 1
		last = to
	}
	return count, ""
}

func notAscending(last, next int64) string {
	return fmt.Sprintf("non-increasing order, previous: %d, current: %d", last, next)
}

func indexInterval(part string, completions int64) (from, to int64, wrong string) {
	limits := strings.Split(part, "-")
	if len(limits) > 2 {
		return 0, 0, fmt.Sprintf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", part)
	}
	var numbers []int64
	for _, l := range limits {
		n, err := strconv.Atoi(l)
		if err != nil {
			return 0, 0, fmt.Sprintf("cannot convert string to integer for index: %q", l)
		}
		if int64(n) >= completions {
			return 0, 0, fmt.Sprintf("too large index: %q", l)
		}
		numbers = append(numbers, int64(n))
	}
	from, to = numbers[0], numbers[len(numbers)-1]
	if len(numbers) == 2 && from >= to {
		return 0, 0, notAscending(from, to)
	}
	return from, to, ""
}
