package job

import (
	"context"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// batch is how long events of pods are gathered before their Job is looked at.
const batch = 100 * time.Millisecond

// Controller runs Jobs.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop // by Job
	orphans *control.Loop // by pod
	expect  *control.Expectations
	create  control.Pods
	events  record.EventRecorder
	jobs    batchlisters.JobLister
	owners  control.Owners[*batchv1.Job]
	pods    cache.Indexer
	watches control.Watches
	now     func() time.Time

	backoff  histories
	released released
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	jobs, pods := kit.Informers.Batch().V1().Jobs(), kit.Informers.Core().V1().Pods()
	c := &Controller{
		kit: kit, expect: control.NewExpectations(nil), events: kit.Events("job-controller"), jobs: jobs.Lister(),
		pods: pods.Informer().GetIndexer(), now: time.Now, backoff: histories{m: map[string]history{}}, released: released{m: map[types.UID]bool{}},
	}
	c.owners = control.Owners[*batchv1.Job]{Kind: kind, Expect: c.expect, Get: func(namespace, name string) (*batchv1.Job, error) {
		return c.jobs.Jobs(namespace).Get(name)
	}}
	c.create = control.Pods{Client: kit.Client, Expect: c.expect, Events: c.events}
	c.loop = control.NewLoop("job", kit.Log, c.sync)
	c.orphans = control.NewLoop("job-orphans", kit.Log, c.syncOrphan)
	if err := control.IndexOwners(pods.Informer()); err != nil {
		return nil, err
	}
	events := control.PodEvents[*batchv1.Job]{
		Owners: c.owners, Selecting: c.selecting, Also: c.podSeen,
		Wake: func(key string) { c.loop.AddAfter(key, batch) },
	}
	return c, c.watches.Add("the Job controller", control.Handlers{
		jobs.Informer(): cache.ResourceEventHandlerFuncs{AddFunc: c.loop.AddObject, UpdateFunc: c.updateJob, DeleteFunc: control.OnGone(c.jobGone)},
		pods.Informer(): events.Handler(),
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	c.watches.Run(ctx, c.loop.Workers(5), c.orphans.Workers(1))
}

func (c *Controller) updateJob(old, obj any) {
	a, b := old.(*batchv1.Job), obj.(*batchv1.Job)
	if a.UID != b.UID {
		c.jobGone(a)
	}
	if over(b) {
		c.abandon(b)
	}
	if a.Generation == b.Generation && a.DeletionTimestamp == nil && b.DeletionTimestamp == nil {
		// Our own writing of the status, mostly.
		c.loop.AddAfter(control.KeyOf(b), batch)
		return
	}
	c.loop.AddObject(b)
}

func (c *Controller) jobGone(job *batchv1.Job) {
	key := control.KeyOf(job)
	c.expect.Forget(key)
	c.backoff.set(key, history{})
	c.abandon(job)
	c.loop.Add(key)
}

// abandon looks after the pods of a Job that is over or gone and can't take off the finalizer itself.
func (c *Controller) abandon(job *batchv1.Job) {
	pods, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(job.UID))
	if err != nil {
		return // the index is there
	}
	for _, p := range pods {
		if tracked(p) {
			c.orphans.AddObject(p)
		}
	}
}

// selecting returns the Jobs whose selector matches a pod.
func (c *Controller) selecting(p *v1.Pod) ([]*batchv1.Job, error) {
	jobs, err := c.jobs.GetPodJobs(p)
	out := make([]*batchv1.Job, len(jobs))
	for i := range jobs {
		out[i] = &jobs[i]
	}
	return out, err
}

// podSeen keeps account of the finalizer of a pod, and sees to it that somebody takes it off.
func (c *Controller) podSeen(p *v1.Pod, job *batchv1.Job, gone bool) {
	if gone || !tracked(p) {
		c.released.forget(p.UID)
		return
	}
	if job == nil || over(job) {
		c.orphans.AddObject(p)
	}
}

// released are the pods whose finalizer was taken off, until the cache shows it. Safe for
// concurrent use.
type released struct {
	mu sync.Mutex
	m  map[types.UID]bool
}

func (r *released) has(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[uid]
}

func (r *released) add(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m[uid] = true
}

func (r *released) forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, uid)
}
