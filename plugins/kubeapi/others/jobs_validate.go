package others

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The most that jobs may ask for. Indexed jobs of very many pods that also have a limit of
// retries for each index may have fewer at a time and fewer failures.
const (
	maxIndexedParallelism = 100000
	maxFailedIndexes      = 100000
	manyCompletions       = 100000
	maxOfMany             = 10000
	maxManagedBy          = 63
)

func validateJob(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource != "" {
		return errs
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, generatedSelector(r.Object, spec, path)...)
	errs = append(errs, jobSpec(spec, path)...)
	errs = append(errs, jobSelector(spec, path)...)
	if n := tree.Int0(spec, "completions"); r.Operation == resource.Create && n > 0 && tree.Str(spec, "completionMode") == "Indexed" {
		name := tree.Str(tree.Map(r.Object, "metadata"), "name")
		if host := fmt.Sprintf("%s-%d", name, n-1); len(check.DNSLabel(host)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, "will not able to create pod with invalid DNS label: "+host))
		}
	}
	if r.Operation == resource.Update {
		errs = append(errs, jobUpdate(spec, r.Old, path)...)
	}
	return errs
}

// jobLabels are those that a job's pods get of the server.
func jobLabels(o map[string]any) map[string]string {
	meta := tree.Map(o, "metadata")
	uid, name := tree.Str(meta, "uid"), tree.Str(meta, "name")
	return map[string]string{
		"controller-uid": uid, "batch.kubernetes.io/controller-uid": uid,
		"job-name": name, "batch.kubernetes.io/job-name": name,
	}
}

// generatedSelector checks that a job whose selector is the server's to make has that one.
func generatedSelector(o, spec map[string]any, path *field.Path) field.ErrorList {
	if tree.Bool(spec, "manualSelector") || spec["selector"] == nil {
		return nil
	}
	selector, err := tree.Typed[metav1.LabelSelector](tree.Map(spec, "selector"))
	if err != nil {
		return nil // the schema's to say
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Matches(labels.Set(jobLabels(o))) {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("selector"), spec["selector"], "`selector` not auto-generated")}
}

func jobSelector(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("selector")
	if spec["selector"] == nil {
		errs = append(errs, field.Required(at, ""))
	}
	errs = append(errs, check.Selector(tree.Map(spec, "selector"), at)...)
	var selector *metav1.LabelSelector
	if m := tree.Map(spec, "selector"); m != nil {
		var err error
		if selector, err = tree.Typed[metav1.LabelSelector](m); err != nil {
			return errs
		}
	}
	set := tree.StringMap(tree.In(spec, "template", "metadata"), "labels")
	if s, err := metav1.LabelSelectorAsSelector(selector); err == nil && !s.Matches(labels.Set(set)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), set, "`selector` does not match template `labels`"))
	}
	return errs
}

func jobUpdate(spec, old map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	was := tree.Map(old, "spec")
	at := path.Child("completions")
	switch {
	case tree.Str(spec, "completionMode") != "Indexed":
		errs = append(errs, check.Unchanged(at, spec["completions"], was["completions"])...)
	case spec["completions"] != nil && !tree.Equal(spec["completions"], was["completions"]) && !tree.Equal(spec["completions"], spec["parallelism"]):
		errs = append(errs, field.Invalid(at, spec["completions"], "can only be modified in tandem with spec.parallelism"))
	}
	for _, key := range [...]string{"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"} {
		errs = append(errs, check.Unchanged(path.Child(key), spec[key], was[key])...)
	}
	return append(errs, jobTemplateUpdate(tree.Map(spec, "template"), tree.Map(was, "template"), tree.Bool(was, "suspend") && quiet(old), path)...)
}

// quiet reports whether a job has no pods: it has never started, or is suspended and the
// pods are gone.
func quiet(job map[string]any) bool {
	status := tree.Map(job, "status")
	return tree.Int0(status, "active") == 0 && (status["startTime"] == nil ||
		slices.ContainsFunc(tree.List(status, "conditions"), func(v any) bool {
			c := tree.Object(v)
			return tree.Str(c, "type") == "Suspended" && tree.Str(c, "status") == "True"
		}))
}

// jobTemplateUpdate checks that a job's template is as it was. While no pod is made of it,
// where its pods may go and what they need may change.
func jobTemplateUpdate(is, was map[string]any, quiet bool, path *field.Path) field.ErrorList {
	if !quiet {
		return check.Unchanged(path.Child("template"), is, was)
	}
	free := func(template map[string]any) map[string]any {
		spec := tree.CopyMap(tree.Map(template, "spec"))
		for _, key := range [...]string{"nodeSelector", "tolerations", "schedulingGates"} {
			delete(spec, key)
		}
		if affinity := tree.Map(spec, "affinity"); affinity != nil {
			delete(affinity, "nodeAffinity")
		}
		for _, list := range [...]string{"containers", "initContainers"} {
			for _, c := range tree.List(spec, list) {
				delete(tree.Object(c), "resources")
			}
		}
		return spec
	}
	return check.Unchanged(path.Child("template.spec"), free(is), free(was))
}

func jobSpec(spec map[string]any, path *field.Path) field.ErrorList {
	errs := check.NonNegative(spec, path, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
		"ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes")
	if spec["maxFailedIndexes"] != nil && spec["backoffLimitPerIndex"] == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if by, ok := spec["managedBy"].(string); ok {
		errs = append(errs, validation.IsDomainPrefixedPath(path.Child("managedBy"), by)...)
		if len(by) > maxManagedBy {
			errs = append(errs, field.TooLong(path.Child("managedBy"), "", maxManagedBy))
		}
	}
	indexed := tree.Str(spec, "completionMode") == "Indexed"
	if indexed {
		errs = append(errs, indexedJob(spec, path)...)
	} else {
		for _, key := range [...]string{"backoffLimitPerIndex", "maxFailedIndexes"} {
			if n, ok := tree.Int(spec, key); ok {
				errs = append(errs, field.Invalid(path.Child(key), n, "requires indexed completion mode"))
			}
		}
	}
	errs = append(errs, jobPolicies(spec, indexed, path)...)
	template, at := tree.Map(spec, "template"), path.Child("template")
	errs = append(errs, podspec.ValidateTemplate(template, at)...)
	restart := at.Child("spec", "restartPolicy")
	switch p := tree.Str(tree.Map(template, "spec"), "restartPolicy"); {
	case p == "Always" || p == "":
		errs = append(errs, field.Required(restart, `valid values: "OnFailure", "Never"`))
	case p != "Never" && spec["podFailurePolicy"] != nil:
		errs = append(errs, field.Invalid(restart, p, `only "Never" is supported when podFailurePolicy is specified`))
	}
	return errs
}

func indexedJob(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	completions, counted := tree.Int(spec, "completions")
	if !counted {
		errs = append(errs, field.Required(path.Child("completions"), "when completion mode is Indexed"))
	}
	parallelism := tree.Int0(spec, "parallelism")
	if parallelism > maxIndexedParallelism {
		errs = append(errs, field.Invalid(path.Child("parallelism"), parallelism, fmt.Sprintf("must be less than or equal to %d when completion mode is Indexed", maxIndexedParallelism)))
	}
	failed, limited := tree.Int(spec, "maxFailedIndexes")
	at := path.Child("maxFailedIndexes")
	if limited && counted && failed > completions {
		errs = append(errs, field.Invalid(at, failed, "must be less than or equal to completions"))
	}
	if failed > maxFailedIndexes {
		errs = append(errs, field.Invalid(at, failed, fmt.Sprintf("must be less than or equal to %d", maxFailedIndexes)))
	}
	if completions <= manyCompletions || spec["backoffLimitPerIndex"] == nil {
		return errs
	}
	if !limited {
		errs = append(errs, field.Required(at, fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	for key, n := range map[string]int64{"parallelism": parallelism, "maxFailedIndexes": failed} {
		if n > maxOfMany {
			errs = append(errs, field.Invalid(path.Child(key), n, fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxOfMany, manyCompletions)))
		}
	}
	return errs
}

func jobPolicies(spec map[string]any, indexed bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p := tree.Map(spec, "podFailurePolicy"); p != nil {
		policy, err := tree.Typed[batchv1.PodFailurePolicy](p)
		if err != nil {
			return field.ErrorList{field.InternalError(path.Child("podFailurePolicy"), err)}
		}
		errs = append(errs, failurePolicy(policy, spec, path.Child("podFailurePolicy", "rules"))...)
		if p := tree.Str(spec, "podReplacementPolicy"); p != "" && p != string(batchv1.Failed) {
			errs = append(errs, field.NotSupported(path.Child("podReplacementPolicy"), p, []string{"Failed"}))
		}
	} else if p := tree.Str(spec, "podReplacementPolicy"); p != "" && !slices.Contains([]string{"Failed", "TerminatingOrFailed"}, p) {
		errs = append(errs, field.NotSupported(path.Child("podReplacementPolicy"), p, []string{"Failed", "TerminatingOrFailed"}))
	}
	p, at := tree.Map(spec, "successPolicy"), path.Child("successPolicy")
	switch {
	case p == nil:
	case !indexed:
		errs = append(errs, field.Invalid(at, p, "requires indexed completion mode"))
	default:
		policy, err := tree.Typed[batchv1.SuccessPolicy](p)
		if err != nil {
			return field.ErrorList{field.InternalError(at, err)}
		}
		errs = append(errs, successPolicy(policy, tree.Int0(spec, "completions"), at.Child("rules"))...)
	}
	return errs
}
