package cronjob_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/cronjob"
)

var build = controltest.One(cronjob.New)

func made(schedule string, created time.Time, change ...func(*batchv1.CronJob)) *batchv1.CronJob {
	cj := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default", UID: "cj", CreationTimestamp: metav1.NewTime(created)},
		Spec: batchv1.CronJobSpec{
			Schedule: schedule, ConcurrencyPolicy: batchv1.AllowConcurrent, Suspend: ptr.To(false),
			SuccessfulJobsHistoryLimit: ptr.To[int32](2), FailedJobsHistoryLimit: ptr.To[int32](1),
			JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}},
		},
	}
	for _, c := range change {
		c(cj)
	}
	return cj
}

func TestWhen(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	day := at("2026-03-02T00:00:00Z") // a Monday
	tests := []struct {
		name    string
		cj      *batchv1.CronJob
		now     time.Time
		due     time.Time
		next    time.Duration
		problem string
	}{
		{"not yet", made("0 * * * *", day), day.Add(30 * time.Minute), time.Time{}, 30 * time.Minute, ""},
		{"now", made("0 * * * *", day), day.Add(time.Hour), day.Add(time.Hour), time.Hour, ""},
		{"late", made("0 * * * *", day), day.Add(70 * time.Minute), day.Add(time.Hour), 50 * time.Minute, ""},
		{"several missed", made("0 * * * *", day), day.Add(10*time.Hour + time.Minute), day.Add(10 * time.Hour), 59 * time.Minute, ""},
		{"done already", made("0 * * * *", day, func(cj *batchv1.CronJob) { cj.Status.LastScheduleTime = &metav1.Time{Time: day.Add(time.Hour)} }), day.Add(70 * time.Minute), time.Time{}, 50 * time.Minute, ""},
		{"past the deadline", made("0 * * * *", day, func(cj *batchv1.CronJob) { cj.Spec.StartingDeadlineSeconds = ptr.To[int64](60) }), day.Add(70 * time.Minute), time.Time{}, 50 * time.Minute, ""},
		{"working days only", made("30 6-16/4 * * 1-5", day), at("2026-03-09T06:00:00Z"), at("2026-03-06T14:30:00Z"), 30 * time.Minute, ""},
		{"every so often", made("@every 1h", day.Add(time.Minute)), day.Add(5 * time.Hour), day.Add(4*time.Hour + time.Minute), time.Minute, ""},
		{"in a time zone", made("0 1 * * *", day, func(cj *batchv1.CronJob) { cj.Spec.TimeZone = ptr.To("Asia/Tokyo") }), day.Add(17 * time.Hour), day.Add(16 * time.Hour), 23 * time.Hour, ""},
		{"never", made("59 23 31 2 *", day.AddDate(-1, 0, 0)), day, time.Time{}, 0, "time difference between two schedules is less than 1 second"},
		{"nonsense", made("x y z", day), day, time.Time{}, 0, "expected exactly 5 fields"},
		{"a zone that the library can't take", made("TZ=0", day), day, time.Time{}, 0, "invalid schedule format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			due, next, err := cronjob.Due(tt.cj, tt.now)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("error: %v", err)
				}
				return
			}
			if err != nil || !due.Equal(tt.due) || next != tt.next+100*time.Millisecond {
				t.Errorf("due %v, next in %v, %v", due, next, err)
			}
		})
	}
}

type cluster struct{ *controltest.Env }

func (e cluster) wait(d time.Duration) {
	e.Pass(d)
}

func (e cluster) get() *batchv1.CronJob {
	return controltest.Get(e, e.Client.BatchV1().CronJobs("default"), "c")
}

func (e cluster) jobs() []batchv1.Job {
	list := controltest.List(e, e.Client.BatchV1().Jobs("default"))
	slices.SortFunc(list.Items, func(a, b batchv1.Job) int { return strings.Compare(a.Name, b.Name) })
	return list.Items
}

func (e cluster) end(job batchv1.Job, typ batchv1.JobConditionType) {
	now := metav1.Now()
	start := job.CreationTimestamp
	job.Status.StartTime, job.Status.CompletionTime = &start, &now
	job.Status.Conditions = []batchv1.JobCondition{{Type: typ, Status: v1.ConditionTrue, LastTransitionTime: now}}
	controltest.UpdateStatus(e, e.Client.BatchV1().Jobs("default"), &job)
	e.Settle()
}

func (e cluster) event(text string) bool {
	return slices.ContainsFunc(e.Events(), func(s string) bool { return strings.HasPrefix(s, text) })
}

func run(t *testing.T, schedule string, change func(*batchv1.CronJob), body func(e cluster)) {
	t.Helper()
	controltest.Run(t, nil, build, func(e *controltest.Env) {
		controltest.Create(e, e.Client.BatchV1().CronJobs("default"), made(schedule, time.Now(), change))
		e.Settle()
		body(cluster{e})
	})
}

func TestStartsJobs(t *testing.T) {
	run(t, "* * * * *", func(*batchv1.CronJob) {}, func(e cluster) {
		if len(e.jobs()) != 0 {
			e.Fatal("a job before its time")
		}
		e.wait(time.Minute + time.Second)
		jobs := e.jobs()
		if len(jobs) != 1 {
			e.Fatalf("%d jobs", len(jobs))
		}
		j, cj := jobs[0], e.get()
		minute := cj.Status.LastScheduleTime
		if minute == nil || j.Annotations[batchv1.CronJobScheduledTimestampAnnotation] != minute.UTC().Format(time.RFC3339) || j.Labels["a"] != "b" || !metav1.IsControlledBy(&j, cj) || !strings.HasPrefix(j.Name, "c-") {
			e.Errorf("job: %+v", j.ObjectMeta)
		}
		if len(cj.Status.Active) != 1 || cj.Status.Active[0].Name != j.Name || !e.event("Normal SuccessfulCreate Created job "+j.Name) {
			e.Errorf("status: %+v, events %v", cj.Status, e.Events())
		}
		e.end(j, batchv1.JobComplete)
		if s := e.get().Status; len(s.Active) != 0 || s.LastSuccessfulTime == nil || !e.event("Normal SawCompletedJob Saw completed job: "+j.Name+", condition: Complete") {
			e.Errorf("status: %+v, events %v", s, e.Events())
		}
		e.wait(2 * time.Minute)
		if n := len(e.jobs()); n != 3 {
			e.Errorf("%d jobs after three minutes", n)
		}
	})
}

func TestConcurrency(t *testing.T) {
	tests := []struct {
		policy       batchv1.ConcurrencyPolicy
		jobs, active int
		event        string
	}{
		{batchv1.AllowConcurrent, 2, 2, "Normal SuccessfulCreate"},
		{batchv1.ForbidConcurrent, 1, 1, "Normal JobAlreadyActive Not starting job because prior execution is running"},
		{batchv1.ReplaceConcurrent, 1, 1, "Normal SuccessfulDelete Deleted job c-"},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			run(t, "* * * * *", func(cj *batchv1.CronJob) { cj.Spec.ConcurrencyPolicy = tt.policy }, func(e cluster) {
				e.wait(time.Minute + time.Second)
				first := e.jobs()[0].Name
				e.wait(time.Minute)
				jobs := e.jobs()
				if len(jobs) != tt.jobs || len(e.get().Status.Active) != tt.active || !e.event(tt.event) {
					e.Errorf("%d jobs, %+v, events %v", len(jobs), e.get().Status, e.Events())
				}
				if tt.policy == batchv1.ReplaceConcurrent && jobs[0].Name == first {
					e.Error("not replaced")
				}
			})
		})
	}
}

func TestHistory(t *testing.T) {
	run(t, "* * * * *", func(*batchv1.CronJob) {}, func(e cluster) {
		for n := range 7 {
			e.wait(time.Minute)
			for _, j := range e.jobs() {
				if len(j.Status.Conditions) == 0 {
					typ := batchv1.JobComplete
					if n%2 == 1 {
						typ = batchv1.JobFailed
					}
					e.end(j, typ)
				}
			}
		}
		e.wait(time.Second)
		kept := map[batchv1.JobConditionType]int{}
		for _, j := range e.jobs() {
			if len(j.Status.Conditions) > 0 {
				kept[j.Status.Conditions[0].Type]++
			}
		}
		if kept[batchv1.JobComplete] != 2 || kept[batchv1.JobFailed] != 1 {
			e.Errorf("kept: %v", kept)
		}
	})
}

func TestStandsStill(t *testing.T) {
	tests := []struct {
		name   string
		change func(*batchv1.CronJob)
		event  string
	}{
		{"suspended", func(cj *batchv1.CronJob) { cj.Spec.Suspend = ptr.To(true) }, ""},
		{"no such zone", func(cj *batchv1.CronJob) { cj.Spec.TimeZone = ptr.To("Mars/Base") }, "Warning UnknownTimeZone"},
		{"no schedule", func(cj *batchv1.CronJob) { cj.Spec.Schedule = "whenever" }, "Warning UnparseableSchedule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, "* * * * *", tt.change, func(e cluster) {
				e.wait(3 * time.Minute)
				if n := len(e.jobs()); n != 0 || !e.event(tt.event) && tt.event != "" {
					e.Errorf("%d jobs, events %v", n, e.Events())
				}
			})
		})
	}
}

func TestAJobThatVanished(t *testing.T) {
	run(t, "* * * * *", func(*batchv1.CronJob) {}, func(e cluster) {
		e.wait(time.Minute + time.Second)
		controltest.Delete(e, e.Client.BatchV1().Jobs("default"), e.jobs()[0].Name)
		e.wait(time.Second)
		if s := e.get().Status; len(s.Active) != 0 || !e.event("Normal MissingJob Active job went missing") {
			e.Errorf("%+v, events %v", s, e.Events())
		}
	})
}
