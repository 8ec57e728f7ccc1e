package others

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// longestCronJob is the longest name: a job's is that of its cron job and a time of eleven
// letters.
const longestCronJob = 52

func validateCronJob(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	if r.Subresource != "" {
		return errs
	}
	if name := tree.Str(tree.Map(r.Object, "metadata"), "name"); r.Operation == resource.Create && len(name) > longestCronJob {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, "must be no more than 52 characters"))
	}
	spec, was, path := tree.Map(r.Object, "spec"), tree.Map(r.Old, "spec"), field.NewPath("spec")
	zone, zoned := spec["timeZone"].(string)
	errs = append(errs, schedule(tree.Str(spec, "schedule"), strings.Contains(tree.Str(was, "schedule"), "TZ"), zoned, path.Child("schedule"))...)
	if zoned && (r.Old == nil || !tree.Equal(spec["timeZone"], was["timeZone"])) {
		errs = append(errs, timeZone(zone, path.Child("timeZone"))...)
	}
	errs = append(errs, check.NonNegative(spec, path, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")...)
	at := path.Child("jobTemplate", "spec")
	job := tree.In(spec, "jobTemplate", "spec")
	errs = append(errs, jobSpec(job, at)...)
	if job["selector"] != nil {
		errs = append(errs, field.Invalid(at.Child("selector"), job["selector"], "`selector` will be auto-generated"))
	}
	if tree.Bool(job, "manualSelector") {
		errs = append(errs, field.NotSupported(at.Child("manualSelector"), true, []string{"nil", "false"}))
	}
	return errs
}

func schedule(text string, mayHaveZone, zoned bool, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if err := parseSchedule(text); err != nil {
		errs = append(errs, field.Invalid(path, text, err.Error()))
	}
	switch {
	case !strings.Contains(text, "TZ"):
	case !mayHaveZone:
		errs = append(errs, field.Invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case zoned:
		errs = append(errs, field.Invalid(path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

// parseSchedule says what is wrong with a schedule. The parser panics about some.
func parseSchedule(text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("invalid schedule format: %v", r)
		}
	}()
	_, err = cron.ParseStandard(text)
	return err
}

// zonePart is an element of the name of a time zone.
var zonePart = regexp.MustCompile(`^[A-Za-z.\-_0-9+]{1,14}$`)

func timeZone(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Invalid(path, name, "timeZone must be nil or non-empty string")}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zonePart.MatchString(part) {
			return field.ErrorList{field.Invalid(path, name, "unknown time zone "+name)}
		}
	}
	var errs field.ErrorList
	if strings.EqualFold(name, "Local") {
		errs = append(errs, field.Invalid(path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(name); err != nil {
		errs = append(errs, field.Invalid(path, name, err.Error()))
	}
	return errs
}
