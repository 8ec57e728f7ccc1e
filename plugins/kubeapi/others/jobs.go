package others

import (
	"context"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"

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
	uid := tree.Str(meta, "uid")
	for key, value := range jobLabels(r.Object) {
		if value != "" {
			labels[key] = value
		}
	}
	if spec["selector"] == nil && uid != "" {
		spec["selector"] = map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": uid}}
	}
	if name := tree.Str(meta, "name"); len(tree.Map(meta, "labels")) == 0 && len(name) <= validation.LabelValueMaxLength {
		// Upstream's defaults do so when the object is read; such a label is not checked.
		meta["labels"] = tree.CopyMap(labels)
	}
	return nil
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
