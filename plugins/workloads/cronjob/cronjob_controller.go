package cronjob

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/reference"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller reconciles CronJobs.
type Controller struct {
	kit      control.Kit
	loop     *control.Loop
	events   record.EventRecorder
	cronJobs batchlisters.CronJobLister
	jobs     cache.Indexer
	watches  control.Watches
	now      func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	cronJobs, jobs := kit.Informers.Batch().V1().CronJobs(), kit.Informers.Batch().V1().Jobs()
	c := &Controller{kit: kit, events: kit.Events("cronjob-controller"), cronJobs: cronJobs.Lister(), jobs: jobs.Informer().GetIndexer(), now: time.Now}
	c.loop = control.NewLoop("cronjob", kit.Log, c.sync)
	if err := control.IndexOwners(jobs.Informer()); err != nil {
		return nil, err
	}
	return c, c.watches.Add("the CronJob controller", control.Handlers{
		cronJobs.Informer(): control.Seen(c.loop.AddObject),
		jobs.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { c.jobChanged(obj.(*batchv1.Job)) }, DeleteFunc: control.OnGone(c.jobChanged),
			UpdateFunc: func(old, obj any) {
				a, b := old.(*batchv1.Job), obj.(*batchv1.Job)
				if control.Left(a, b) {
					c.jobChanged(a)
				}
				c.jobChanged(b)
			},
		},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(3)) }

func (c *Controller) jobChanged(job *batchv1.Job) {
	if ref := metav1.GetControllerOfNoCopy(job); ref != nil && ref.Kind == kind.Kind && ref.APIVersion == kind.GroupVersion().String() {
		c.loop.Add(job.Namespace + "/" + ref.Name)
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	shared, found, err := control.Lookup(key, func(namespace, name string) (*batchv1.CronJob, error) {
		return c.cronJobs.CronJobs(namespace).Get(name)
	})
	if !found {
		return err
	}
	cj := shared.DeepCopy()
	jobs, err := control.Indexed[*batchv1.Job](c.jobs, control.ByController, string(cj.UID))
	if err != nil {
		return err
	}
	for _, job := range outdated(cj, jobs) {
		// What can't be deleted now is outdated the next time too.
		_ = c.deleteJob(ctx, cj, job)
	}
	again, failure := c.reconcile(ctx, cj, jobs)
	if !apiequality.Semantic.DeepEqual(shared.Status, cj.Status) {
		if err := control.WriteStatus(ctx, c.kit.Client.BatchV1().CronJobs(cj.Namespace), cj); err != nil {
			return fmt.Errorf("CronJob %s: %w", key, err)
		}
	}
	if again > 0 {
		c.loop.AddAfter(key, again)
	}
	return failure
}

// reconcile brings the status of a CronJob up to date and starts a Job if one is due. It returns
// when to look again, 0 if only a change is a reason to.
func (c *Controller) reconcile(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) (time.Duration, error) {
	if err := c.account(ctx, cj, jobs); err != nil || cj.DeletionTimestamp != nil {
		return 0, err
	}
	if zone := cj.Spec.TimeZone; zone != nil {
		if _, err := time.LoadLocation(*zone); err != nil {
			c.events.Eventf(cj, v1.EventTypeWarning, "UnknownTimeZone", "invalid timeZone: %q: %s", *zone, err)
			return 0, nil
		}
	}
	if cj.Spec.Suspend != nil && *cj.Spec.Suspend {
		return 0, nil
	}
	schedule, err := parse(cj)
	if err != nil {
		// Only its author can help it.
		c.events.Eventf(cj, v1.EventTypeWarning, "UnparseableSchedule", "unparseable schedule: %q : %s", cj.Spec.Schedule, err)
		return 0, nil
	}
	now := c.now()
	s, err := look(cj, schedule, now, true)
	if err != nil {
		c.events.Eventf(cj, v1.EventTypeWarning, "InvalidSchedule", "invalid schedule: %s : %s", cj.Spec.Schedule, err)
		return 0, nil
	}
	if s.latest.IsZero() {
		return untilNext(cj, schedule, now), nil
	}
	if s.missed > tooMany {
		c.events.Event(cj, v1.EventTypeWarning, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	if err := c.start(ctx, cj, s.latest, now); err != nil {
		return 0, err
	}
	return untilNext(cj, schedule, now), nil
}

// account brings the list of active Jobs up to date.
func (c *Controller) account(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) error {
	here := map[string]bool{}
	for _, job := range jobs {
		here[string(job.UID)] = true
		active, end := listed(cj, withUID(job.UID)), ended(job)
		switch {
		case end == "" && !active:
			live, err := c.kit.Client.BatchV1().CronJobs(cj.Namespace).Get(ctx, cj.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if listed(live, withUID(job.UID)) {
				// The cache lags behind what we wrote.
				live.DeepCopyInto(cj)
				continue
			}
			c.events.Eventf(cj, v1.EventTypeWarning, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", job.Name)
		case end != "" && active:
			strike(cj, job.UID)
			c.events.Eventf(cj, v1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", job.Name, end)
		}
		if at := job.Status.CompletionTime; end == batchv1.JobComplete && at != nil && (cj.Status.LastSuccessfulTime == nil || at.After(cj.Status.LastSuccessfulTime.Time)) {
			cj.Status.LastSuccessfulTime = at.DeepCopy()
		}
	}
	for _, ref := range cj.Status.Active {
		if here[string(ref.UID)] {
			continue
		}
		_, err := c.kit.Client.BatchV1().Jobs(cj.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err != nil {
			c.events.Eventf(cj, v1.EventTypeNormal, "MissingJob", "Active job went missing: %v", ref.Name)
			strike(cj, ref.UID)
		}
	}
	return nil
}

// start makes the Job of a start that is due, unless something speaks against it.
func (c *Controller) start(ctx context.Context, cj *batchv1.CronJob, at, now time.Time) error {
	if d := cj.Spec.StartingDeadlineSeconds; d != nil && at.Add(time.Duration(*d)*time.Second).Before(now) {
		c.events.Eventf(cj, v1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return nil
	}
	name := jobName(cj, at)
	if cj.Status.LastScheduleTime.Equal(&metav1.Time{Time: at}) || listed(cj, func(r v1.ObjectReference) bool { return r.Name == name }) {
		return nil
	}
	switch {
	case len(cj.Status.Active) == 0:
	case cj.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent:
		c.events.Event(cj, v1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
		return nil
	case cj.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent:
		for _, ref := range cj.Status.Active {
			job, err := c.kit.Client.BatchV1().Jobs(cj.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
			if err != nil {
				c.events.Eventf(cj, v1.EventTypeWarning, "FailedGet", "Get job: %v", err)
				return err
			}
			if err := c.deleteJob(ctx, cj, job); err != nil {
				return fmt.Errorf("could not replace job %s/%s: %w", job.Namespace, job.Name, err)
			}
		}
	}
	return c.createJob(ctx, cj, at)
}

func (c *Controller) createJob(ctx context.Context, cj *batchv1.CronJob, at time.Time) error {
	want, err := jobFor(cj, at)
	if err != nil {
		return err
	}
	client := c.kit.Client.BatchV1().Jobs(cj.Namespace)
	job, err := client.Create(ctx, want, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.events.Eventf(cj, v1.EventTypeNormal, "SuccessfulCreate", "Created job %v", job.Name)
	case apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsAlreadyExists(err):
		// Made before, without the status being written; or somebody else's.
		if job, err = client.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !metav1.IsControlledBy(job, cj) || listed(cj, withUID(job.UID)) {
			return nil
		}
	default:
		c.events.Eventf(cj, v1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		return err
	}
	ref, err := reference.GetReference(scheme.Scheme, job)
	if err != nil {
		return fmt.Errorf("unable to make object reference for job %s: %w", job.Name, err)
	}
	cj.Status.Active = append(cj.Status.Active, *ref)
	cj.Status.LastScheduleTime = &metav1.Time{Time: at}
	return nil
}

// deleteJob deletes a Job with its pods and takes it off the list.
func (c *Controller) deleteJob(ctx context.Context, cj *batchv1.CronJob, job *batchv1.Job) error {
	background := metav1.DeletePropagationBackground
	err := c.kit.Client.BatchV1().Jobs(job.Namespace).Delete(ctx, job.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(job.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		c.events.Eventf(cj, v1.EventTypeWarning, "FailedDelete", "Deleted job: %v", err)
		return err
	}
	strike(cj, job.UID)
	c.events.Eventf(cj, v1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", job.Name)
	return nil
}
