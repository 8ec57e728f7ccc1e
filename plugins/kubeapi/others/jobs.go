package others

import (
	"context"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func defaultJob(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
	defaultJobSpec(spec)
	set := tree.In(spec, "template", "metadata", "labels")
	if meta := tree.Map(r.Object, "metadata"); set != nil && meta != nil && len(tree.Map(meta, "labels")) == 0 {
		meta["labels"] = tree.CopyMap(set)
	}
}

func defaultJobSpec(spec map[string]any) {
	if spec["completions"] == nil && spec["parallelism"] == nil {
		spec["completions"] = int64(1)
	}
	tree.SetDefault(spec, "parallelism", int64(1))
	tree.SetDefault(spec, "completionMode", "NonIndexed")
	tree.SetDefault(spec, "suspend", false)
	tree.SetDefault(spec, "manualSelector", false)
	const retries = 6
	limit := int64(retries)
	if spec["backoffLimitPerIndex"] != nil {
		limit = math.MaxInt32
	}
	tree.SetDefault(spec, "backoffLimit", limit)
	if spec["podFailurePolicy"] != nil {
		tree.SetDefault(spec, "podReplacementPolicy", "Failed")
	} else {
		tree.SetDefault(spec, "podReplacementPolicy", "TerminatingOrFailed")
	}
	podspec.Default(tree.In(spec, "template", "spec"))
}

func defaultCronJob(r *resource.Request) {
	// Only the pods' defaults: a job gets its own when it is made.
	podspec.Default(tree.In(r.Object, "spec", "jobTemplate", "spec", "template", "spec"))
}

// prepareJob gives a job's pods labels of their own and a selector for them.
func prepareJob(_ context.Context, r *resource.Request) error {
	if r.Operation != resource.Create {
		return nil
	}
	r.Object["status"] = map[string]any{}
	spec, meta := tree.Map(r.Object, "spec"), tree.Map(r.Object, "metadata")
	if spec == nil || tree.Bool(spec, "manualSelector") {
		return nil
	}
	template := tree.Ensure(spec, "template")
	labels := tree.Ensure(tree.Ensure(template, "metadata"), "labels")
	uid, name := tree.Str(meta, "uid"), tree.Str(meta, "name")
	for key, value := range map[string]string{
		"controller-uid": uid, "batch.kubernetes.io/controller-uid": uid,
		"job-name": name, "batch.kubernetes.io/job-name": name,
	} {
		if value != "" {
			labels[key] = value
		}
	}
	if spec["selector"] == nil && uid != "" {
		spec["selector"] = map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": uid}}
	}
	return nil
}

func validateJob(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource != "" {
		return errs
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, jobSpec(spec, path)...)
	errs = append(errs, check.Selector(tree.Map(spec, "selector"), path.Child("selector"))...)
	if r.Operation == resource.Update {
		was := tree.Map(r.Old, "spec")
		for _, key := range [...]string{"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"} {
			errs = append(errs, check.Unchanged(path.Child(key), spec[key], was[key])...)
		}
		if !tree.Bool(was, "suspend") || tree.In(r.Old, "status")["startTime"] != nil {
			errs = append(errs, check.Unchanged(path.Child("template"), spec["template"], was["template"])...)
		}
		if tree.Str(spec, "completionMode") != "Indexed" {
			errs = append(errs, check.Unchanged(path.Child("completions"), spec["completions"], was["completions"])...)
		}
	}
	return errs
}

func jobSpec(spec map[string]any, path *field.Path) field.ErrorList {
	errs := check.NonNegative(spec, path, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
		"ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes")
	if spec["maxFailedIndexes"] != nil && spec["backoffLimitPerIndex"] == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if tree.Str(spec, "completionMode") == "Indexed" && spec["completions"] == nil {
		errs = append(errs, field.Required(path.Child("completions"), "when completion mode is Indexed"))
	}
	template, at := tree.Map(spec, "template"), path.Child("template")
	errs = append(errs, podspec.ValidateTemplate(template, at)...)
	if p := tree.Str(tree.Map(template, "spec"), "restartPolicy"); p == "Always" || p == "" {
		errs = append(errs, field.Required(at.Child("spec", "restartPolicy"), `valid values: "OnFailure", "Never"`))
	}
	return errs
}

func validateCronJob(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	const longest = 52 // a job's name is the cron job's and a time of eleven letters
	if name := tree.Str(tree.Map(r.Object, "metadata"), "name"); r.Operation == resource.Create && len(name) > longest {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, "must be no more than 52 characters"))
	}
	if r.Subresource != "" {
		return errs
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	schedule, at := tree.Str(spec, "schedule"), path.Child("schedule")
	switch {
	case schedule == "":
		errs = append(errs, field.Required(at, ""))
	case strings.Contains(schedule, "TZ"):
		errs = append(errs, field.Invalid(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case !strings.HasPrefix(schedule, "@") && len(strings.Fields(schedule)) != 5:
		errs = append(errs, field.Invalid(at, schedule, "expected exactly 5 fields"))
	}
	if zone, ok := spec["timeZone"].(string); ok {
		if _, err := time.LoadLocation(zone); zone == "" || err != nil || strings.EqualFold(zone, "Local") {
			errs = append(errs, field.Invalid(path.Child("timeZone"), zone, "unknown time zone "+zone))
		}
	}
	errs = append(errs, check.NonNegative(spec, path, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")...)
	job := tree.In(spec, "jobTemplate", "spec")
	if tree.Bool(job, "manualSelector") {
		errs = append(errs, field.NotSupported(path.Child("jobTemplate", "spec", "manualSelector"), true, []string{"nil", "false"}))
	}
	return append(errs, jobSpec(job, path.Child("jobTemplate", "spec"))...)
}

func printJob(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	names, images := show.Containers(tree.In(spec, "template", "spec"))
	return []any{
		jobState(o, status), completions(spec, status), jobDuration(status), show.Age(o),
		names, images, show.Selector(tree.Map(spec, "selector")),
	}
}

func jobState(o, status map[string]any) string {
	is := func(typ string) bool { return show.Condition(status, typ) == "True" }
	switch {
	case is("Complete"):
		return "Complete"
	case is("Failed"):
		return "Failed"
	case tree.Str(tree.Map(o, "metadata"), "deletionTimestamp") != "":
		return "Terminating"
	case is("Suspended"):
		return "Suspended"
	case is("FailureTarget"):
		return "FailureTarget"
	case is("SuccessCriteriaMet"):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func completions(spec, status map[string]any) string {
	done := itoa(tree.Int0(status, "succeeded"))
	if n, ok := tree.Int(spec, "completions"); ok {
		return done + "/" + itoa(n)
	}
	if n := tree.Int0(spec, "parallelism"); n > 1 {
		return done + "/1 of " + itoa(n)
	}
	return done + "/1"
}

func jobDuration(status map[string]any) string {
	start := show.Time(tree.Str(status, "startTime"))
	if start.IsZero() {
		return ""
	}
	end := show.Time(tree.Str(status, "completionTime"))
	if end.IsZero() {
		end = time.Now()
	}
	return duration.HumanDuration(end.Sub(start))
}

func printCronJob(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	last := show.None
	if t := tree.Str(status, "lastScheduleTime"); t != "" {
		last = show.Since(t)
	}
	job := tree.In(spec, "jobTemplate", "spec")
	names, images := show.Containers(tree.In(job, "template", "spec"))
	return []any{
		tree.Str(spec, "schedule"), show.Or(tree.Str(spec, "timeZone"), show.None), show.BoolOr(spec["suspend"], show.Unset),
		int64(len(tree.List(status, "active"))), last, show.Age(o), names, images, show.Selector(tree.Map(job, "selector")),
	}
}
