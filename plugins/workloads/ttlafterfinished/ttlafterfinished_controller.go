package ttlafterfinished

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	batchlisters "k8s.io/client-go/listers/batch/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller deletes Jobs whose time is over.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop
	jobs    batchlisters.JobLister
	watches control.Watches
	now     func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	jobs := kit.Informers.Batch().V1().Jobs()
	c := &Controller{kit: kit, jobs: jobs.Lister(), now: time.Now}
	c.loop = control.NewLoop("ttlafterfinished", kit.Log, c.sync)
	return c, c.watches.Add("the controller of finished Jobs", control.Handlers{
		jobs.Informer(): control.Seen(func(job *batchv1.Job) {
			if left, ok := remaining(job, c.now()); ok {
				c.loop.AddAfter(control.KeyOf(job), left)
			}
		}),
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

// remaining is how long a Job is to stay, false if nothing limits that.
func remaining(job *batchv1.Job, now time.Time) (time.Duration, bool) {
	if job.DeletionTimestamp != nil || job.Spec.TTLSecondsAfterFinished == nil {
		return 0, false
	}
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == v1.ConditionTrue && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second).Sub(now), true
		}
	}
	return 0, false
}

func (c *Controller) sync(ctx context.Context, key string) error {
	cached, found, err := control.Lookup(key, func(namespace, name string) (*batchv1.Job, error) { return c.jobs.Jobs(namespace).Get(name) })
	if !found || c.waits(key, cached) {
		return err
	}
	// The cache may not show yet that somebody has given it more time.
	client := c.kit.Client.BatchV1().Jobs(cached.Namespace)
	job, found, err := control.Found(client.Get(ctx, cached.Name, metav1.GetOptions{}))
	if !found || c.waits(key, job) {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	err = client.Delete(ctx, cached.Name, metav1.DeleteOptions{
		PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &job.UID, ResourceVersion: version(job)},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// version is the precondition that the Job is still the one that was read.
func version(job *batchv1.Job) *string {
	if job.ResourceVersion == "" {
		return nil
	}
	return &job.ResourceVersion
}

// waits reports whether a Job is not to be deleted now, and looks at it again when it is.
func (c *Controller) waits(key string, job *batchv1.Job) bool {
	left, ok := remaining(job, c.now())
	if !ok {
		return true
	}
	if left > 0 {
		c.loop.AddAfter(key, left)
		return true
	}
	return false
}
