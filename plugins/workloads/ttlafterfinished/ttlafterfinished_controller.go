package ttlafterfinished

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller deletes Jobs whose time is over.
type Controller struct {
	kit    control.Kit
	loop   *control.Loop
	jobs   batchlisters.JobLister
	synced cache.InformerSynced
	now    func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	jobs := kit.Informers.Batch().V1().Jobs()
	c := &Controller{kit: kit, jobs: jobs.Lister(), now: time.Now}
	c.loop = control.NewLoop("ttlafterfinished", kit.Log, c.sync)
	seen := func(obj any) {
		job := obj.(*batchv1.Job)
		if left, ok := remaining(job, c.now()); ok {
			c.loop.AddAfter(job.Namespace+"/"+job.Name, left)
		}
	}
	registration, err := jobs.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: seen, UpdateFunc: func(_, obj any) { seen(obj) }})
	if err != nil {
		return nil, fmt.Errorf("watch for the controller of finished Jobs: %w", err)
	}
	c.synced = registration.HasSynced
	return c, nil
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitForCacheSync(ctx.Done(), c.synced) {
		c.loop.Run(ctx, 1)
	}
}

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
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	if job, err := c.jobs.Jobs(namespace).Get(name); err != nil || c.waits(key, job) {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	// The cache may not show yet that somebody has given it more time.
	job, err := c.kit.Client.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || c.waits(key, job) {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	err = c.kit.Client.BatchV1().Jobs(namespace).Delete(ctx, name, metav1.DeleteOptions{
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
