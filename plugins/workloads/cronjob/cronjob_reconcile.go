package cronjob

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

const (
	// slack is added to the time of a wake-up: a clock that is set back a little must not make
	// it come early.
	slack = 100 * time.Millisecond
	// tooMany starts that were missed are probably a fault.
	tooMany = 100
)

// parse reads the schedule of a CronJob, in its time zone.
func parse(cj *batchv1.CronJob) (s cron.Schedule, err error) {
	defer func() {
		// The library panics on some forms of a time zone.
		if p := recover(); p != nil {
			err = fmt.Errorf("invalid schedule format: %v", p)
		}
	}()
	text := cj.Spec.Schedule
	if cj.Spec.TimeZone != nil && !strings.Contains(text, "TZ") {
		text = "TZ=" + *cj.Spec.TimeZone + " " + text
	}
	return cron.ParseStandard(text)
}

// starts is what a schedule says at a moment.
type starts struct {
	// since is from when on starts were looked for, latest the last one up to now, zero if
	// there was none.
	since, latest time.Time
	// missed is about how many there were, apart from the latest.
	missed int64
}

var errNoInterval = errors.New("time difference between two schedules is less than 1 second")

// look finds the last start that is due. Where bounded, what is past the starting deadline is left
// out.
func look(cj *batchv1.CronJob, schedule cron.Schedule, now time.Time, bounded bool) (starts, error) {
	s := starts{since: cj.CreationTimestamp.Time}
	if cj.Status.LastScheduleTime != nil {
		s.since = cj.Status.LastScheduleTime.Time
	}
	if bounded && cj.Spec.StartingDeadlineSeconds != nil {
		if bound := now.Add(-time.Duration(*cj.Spec.StartingDeadlineSeconds) * time.Second); bound.After(s.since) {
			s.since = bound
		}
	}
	first := schedule.Next(s.since)
	if now.Before(first) {
		return s, nil
	}
	second := schedule.Next(first)
	if now.Before(second) {
		s.latest = first
		return s, nil
	}
	// A date that never comes has no next start.
	interval := second.Sub(first).Round(time.Second)
	if interval < time.Second {
		return s, errNoInterval
	}
	s.missed = int64(now.Sub(first)/interval) + 1
	// The starts may lie at different distances: go back until there is one, and then step
	// by step.
	for back := int64(2); s.latest.IsZero(); back *= 2 {
		from := first.Add(time.Duration(s.missed-back) * interval)
		if !from.After(first) {
			from, s.latest = first, first
		}
		for t := schedule.Next(from); !t.After(now); t = schedule.Next(t) {
			s.latest = t
		}
	}
	return s, nil
}

// untilNext is when to look again.
func untilNext(cj *batchv1.CronJob, schedule cron.Schedule, now time.Time) time.Duration {
	s, err := look(cj, schedule, now, false)
	from := s.latest
	switch {
	case err != nil:
		from = now
	case from.IsZero():
		from = s.since
	}
	return schedule.Next(from).Add(slack).Sub(now)
}

func jobName(cj *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60)
}

// jobFor makes the Job of a start.
func jobFor(cj *batchv1.CronJob, at time.Time) (*batchv1.Job, error) {
	zone := ""
	if cj.Spec.TimeZone != nil {
		zone = *cj.Spec.TimeZone
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	annotations := maps.Clone(cj.Spec.JobTemplate.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.In(location).Format(time.RFC3339)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: jobName(cj, at), Namespace: cj.Namespace, Labels: maps.Clone(cj.Spec.JobTemplate.Labels), Annotations: annotations,
			CreationTimestamp: metav1.NewTime(at),
			OwnerReferences:   []metav1.OwnerReference{*metav1.NewControllerRef(cj, kind)},
		},
		Spec: *cj.Spec.JobTemplate.Spec.DeepCopy(),
	}, nil
}

// ended returns how a Job has ended, "" if it has not.
func ended(job *batchv1.Job) batchv1.JobConditionType {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == v1.ConditionTrue {
			return c.Type
		}
	}
	return ""
}

// outdated returns the Jobs beyond what the history may hold.
func outdated(cj *batchv1.CronJob, jobs []*batchv1.Job) []*batchv1.Job {
	var out []*batchv1.Job
	for end, limit := range map[batchv1.JobConditionType]*int32{
		batchv1.JobComplete: cj.Spec.SuccessfulJobsHistoryLimit, batchv1.JobFailed: cj.Spec.FailedJobsHistoryLimit,
	} {
		if limit == nil {
			continue
		}
		var list []*batchv1.Job
		for _, j := range jobs {
			if ended(j) == end {
				list = append(list, j)
			}
		}
		slices.SortFunc(list, func(a, b *batchv1.Job) int {
			return cmp.Or(startOf(a).Compare(startOf(b)), strings.Compare(a.Name, b.Name))
		})
		out = append(out, list[:max(len(list)-int(*limit), 0)]...)
	}
	return out
}

// startOf is when a Job started; who never did comes last.
func startOf(job *batchv1.Job) time.Time {
	if job.Status.StartTime == nil {
		return time.Unix(1<<40, 0)
	}
	return job.Status.StartTime.Time
}

func listed(cj *batchv1.CronJob, is func(v1.ObjectReference) bool) bool {
	return slices.ContainsFunc(cj.Status.Active, is)
}

func withUID(uid types.UID) func(v1.ObjectReference) bool {
	return func(r v1.ObjectReference) bool { return r.UID == uid }
}

// strike takes a Job off the list of active ones.
func strike(cj *batchv1.CronJob, uid types.UID) {
	cj.Status.Active = slices.DeleteFunc(slices.Clone(cj.Status.Active), withUID(uid))
}
