package job

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	pods    cache.Indexer
	synced  []cache.InformerSynced
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
	c.create = control.Pods{Client: kit.Client, Expect: c.expect, Events: c.events}
	c.loop = control.NewLoop("job", kit.Log, c.sync)
	c.orphans = control.NewLoop("job-orphans", kit.Log, c.syncOrphan)
	if err := control.IndexOwners(pods.Informer()); err != nil {
		return nil, err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		jobs.Informer(): cache.ResourceEventHandlerFuncs{AddFunc: c.loop.AddObject, UpdateFunc: c.updateJob, DeleteFunc: c.deleteJob},
		pods.Informer(): cache.ResourceEventHandlerFuncs{AddFunc: c.addPod, UpdateFunc: c.updatePod, DeleteFunc: c.deletePod},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the Job controller: %w", err)
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	return c, nil
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.loop.Run(ctx, 5) })
	wg.Go(func() { c.orphans.Run(ctx, 1) })
	wg.Wait()
}

func (c *Controller) updateJob(old, obj any) {
	a, b := old.(*batchv1.Job), obj.(*batchv1.Job)
	if a.UID != b.UID {
		c.deleteJob(a)
	}
	if over(b) {
		c.abandon(b)
	}
	if a.Generation == b.Generation && a.DeletionTimestamp == nil && b.DeletionTimestamp == nil {
		// Our own writing of the status, mostly.
		c.loop.AddAfter(b.Namespace+"/"+b.Name, batch)
		return
	}
	c.loop.AddObject(b)
}

func (c *Controller) deleteJob(obj any) {
	job, ok := control.Gone[*batchv1.Job](obj)
	if !ok {
		return
	}
	key := job.Namespace + "/" + job.Name
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

// ownerOf returns the Job that controls a pod, nil if none does.
func (c *Controller) ownerOf(p *v1.Pod) *batchv1.Job {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String() {
		return nil
	}
	job, err := c.jobs.Jobs(p.Namespace).Get(ref.Name)
	if err != nil || job.UID != ref.UID {
		return nil
	}
	return job
}

func keyOf(job *batchv1.Job) string { return job.Namespace + "/" + job.Name }

func (c *Controller) addPod(obj any) {
	p := obj.(*v1.Pod)
	if job := c.ownerOf(p); job != nil && p.DeletionTimestamp == nil {
		c.expect.Created(keyOf(job), 1)
	}
	c.podSeen(p, false)
}

func (c *Controller) updatePod(oldObj, obj any) {
	old, p := oldObj.(*v1.Pod), obj.(*v1.Pod)
	if before, after := c.ownerOf(old), c.ownerOf(p); before != nil && before != after {
		c.loop.AddAfter(keyOf(before), batch)
	}
	c.podSeen(p, false)
}

func (c *Controller) deletePod(obj any) {
	if p, ok := control.Gone[*v1.Pod](obj); ok {
		c.podSeen(p, true)
	}
}

// podSeen tells whom it concerns that a pod has changed or is gone.
func (c *Controller) podSeen(p *v1.Pod, gone bool) {
	if gone || !tracked(p) {
		c.released.forget(p.UID)
	}
	job := c.ownerOf(p)
	if job != nil {
		if gone || p.DeletionTimestamp != nil {
			c.expect.Deleted(keyOf(job), p.UID)
		}
		c.loop.AddAfter(keyOf(job), batch)
	}
	if gone {
		return
	}
	if tracked(p) && (job == nil || over(job)) {
		c.orphans.AddObject(p)
	}
	if job != nil || p.DeletionTimestamp != nil || len(p.Labels) == 0 || metav1.GetControllerOfNoCopy(p) != nil {
		return
	}
	jobs, err := c.jobs.GetPodJobs(p)
	if err != nil {
		return // none matches
	}
	for i := range jobs {
		c.loop.AddAfter(keyOf(&jobs[i]), batch)
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
