package ttlafterfinished_test

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/ttlafterfinished"
)

func TestDeletesWhenTheTimeIsOver(t *testing.T) {
	build := controltest.One(ttlafterfinished.New)
	ttl := func(n int32) *int32 { return &n }
	tests := []struct {
		name    string
		ttl     *int32
		end     batchv1.JobConditionType
		later   *int32 // set half way
		stays   time.Duration
		forever bool
	}{
		{"complete", ttl(60), batchv1.JobComplete, nil, 60 * time.Second, false},
		{"failed", ttl(10), batchv1.JobFailed, nil, 10 * time.Second, false},
		{"at once", ttl(0), batchv1.JobComplete, nil, 0, false},
		{"given more time", ttl(60), batchv1.JobComplete, ttl(120), 120 * time.Second, false},
		{"still running", ttl(10), batchv1.JobSuspended, nil, 0, true},
		{"no limit", nil, batchv1.JobComplete, nil, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, nil, build, func(e *controltest.Env) {
				jobs := e.Client.BatchV1().Jobs("default")
				job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "default"}, Spec: batchv1.JobSpec{TTLSecondsAfterFinished: tt.ttl}}
				job.Status.Conditions = []batchv1.JobCondition{{Type: tt.end, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now()}}
				controltest.Create(e, jobs, job)
				there := func() bool {
					e.Settle()
					return controltest.There(e, jobs, "j")
				}
				if tt.forever {
					time.Sleep(time.Hour) // virtual
					if !there() {
						e.Error("it is gone")
					}
					return
				}
				if tt.stays > 0 {
					time.Sleep(tt.stays / 4)
					if tt.later != nil {
						job.Spec.TTLSecondsAfterFinished = tt.later
						controltest.Update(e, jobs, job)
					}
					time.Sleep(tt.stays*3/4 - 2*time.Second)
					if !there() {
						e.Error("it went too early")
					}
					time.Sleep(3 * time.Second)
				}
				if there() {
					e.Error("it is still there")
				}
			})
		})
	}
}
