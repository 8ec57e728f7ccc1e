package job

import (
	"context"
	"errors"
	"fmt"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

func (c *Controller) sync(ctx context.Context, key string) error {
	job, found, err := c.owners.Lookup(key)
	if err != nil {
		return err
	}
	if !found {
		c.backoff.set(key, history{})
		return nil
	}
	if elsewhere(job) {
		return nil
	}
	if over(job) {
		c.backoff.set(key, history{})
		return nil
	}
	satisfied := c.expect.Satisfied(key)
	pods, err := c.claim(ctx, job)
	if err != nil {
		return err
	}
	r := look(job, pods, c.released.has, c.backoff.get(key), c.now())
	if job.Spec.ActiveDeadlineSeconds != nil && r.finish == nil && !suspended(job) {
		c.loop.AddAfter(key, r.deadline())
	}
	active := int32(len(r.active))
	changed := false
	var failure error
	if r.finish != nil {
		active, failure = c.end(ctx, key, r, satisfied)
	} else {
		managed := satisfied && job.DeletionTimestamp == nil
		if managed {
			active, failure = c.manage(ctx, key, r)
		}
		if r.complete(active); r.finish == nil && managed {
			if reason, message := r.suspend(); reason != "" {
				changed = true
				c.events.Event(job, v1.EventTypeNormal, reason, message)
			}
		}
	}
	changed = r.numbers(active) || changed || job.Status.StartTime == nil && r.job.Status.StartTime != nil
	if err := c.track(ctx, key, r, changed); err != nil {
		return errors.Join(failure, fmt.Errorf("tracking status: %w", err))
	}
	return failure
}

// claim returns the pods of a Job, adopting and releasing where needed.
func (c *Controller) claim(ctx context.Context, job *batchv1.Job) ([]*v1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("couldn't convert Job selector: %w", err)
	}
	claimer := control.Claimer[*v1.Pod]{
		Owner: job, Kind: kind, Selector: selector, Finalizer: batchv1.JobTrackingFinalizer, Patch: c.kit.PatchPod,
		Adoptable: func(*v1.Pod) bool { return !selector.Empty() },
		Live: func(ctx context.Context) (metav1.Object, error) {
			return c.kit.Client.BatchV1().Jobs(job.Namespace).Get(ctx, job.Name, metav1.GetOptions{})
		},
	}
	pods, err := claimer.ClaimFrom(ctx, c.pods)
	for i, p := range pods {
		if metav1.GetControllerOfNoCopy(p) == nil && !tracked(p) {
			// Adopted just now; the cache does not show the finalizer yet.
			pods[i] = p.DeepCopy()
			pods[i].Finalizers = append(pods[i].Finalizers, batchv1.JobTrackingFinalizer)
		}
	}
	return pods, err
}

// end deletes the pods of a Job that ends. They keep the finalizer until they are counted.
func (c *Controller) end(ctx context.Context, key string, r *round, satisfied bool) (active int32, err error) {
	deleted, readyDeleted := c.removeAll(ctx, key, r, r.active, false, &err)
	if int(deleted) != len(r.active) || !satisfied {
		// There may be pods that the cache does not show.
		r.finish = nil
	}
	r.terminating += deleted
	r.ready -= readyDeleted
	return int32(len(r.active)) - deleted, err
}

// removeAll deletes pods and returns how many of them, and how many ready ones, are gone or going.
func (c *Controller) removeAll(ctx context.Context, key string, r *round, pods []*v1.Pod, uncounted bool, failure *error) (deleted, ready int32) {
	var mu sync.Mutex
	*failure = control.Each(pods, func(p *v1.Pod) error {
		if uncounted && tracked(p) {
			if err := c.kit.PatchPod(ctx, p, untrack(p)); err != nil && !apierrors.IsNotFound(err) {
				c.expect.Deleted(key, p.UID)
				return fmt.Errorf("removing completion finalizer: %w", err)
			}
		}
		if err := c.create.Delete(ctx, key, r.job, p); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		deleted++
		if _, ok := control.PodReady(p); ok {
			ready++
		}
		return nil
	})
	return deleted, ready
}

// manage makes and deletes pods and returns how many are active then.
func (c *Controller) manage(ctx context.Context, key string, r *round) (int32, error) {
	active := int32(len(r.active))
	w := r.plan()
	if len(w.remove) > 0 {
		uids := make([]types.UID, len(w.remove))
		for i, p := range w.remove {
			uids[i] = p.UID
		}
		c.expect.Expect(key, 0, uids...)
		var err error
		deleted, ready := c.removeAll(ctx, key, r, w.remove, true, &err)
		r.terminating += deleted
		r.ready -= ready
		return active - deleted, err
	}
	if w.wait > 0 {
		c.loop.AddAfter(key, max(w.wait, batch))
	}
	if w.create == 0 {
		return active, nil
	}
	c.expect.Expect(key, w.create)
	var mu sync.Mutex
	made := int32(0)
	tried, err := control.SlowStart(w.create, func(n int) error {
		if err := c.create.Create(ctx, key, r.job, r.podFor(w, n)); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		made++
		return nil
	})
	// What was not tried will not be seen either.
	c.expect.Created(key, w.create-tried)
	return active + made, err
}

// track writes the status and lets go the pods that it counts.
func (c *Controller) track(ctx context.Context, key string, r *round, changed bool) error {
	open := make(map[types.UID]bool, len(r.open))
	for _, p := range r.open {
		open[p.UID] = true
	}
	changed = r.count(open) || changed
	release, noted, more := r.settle()
	if announced := r.announce(); changed || noted || announced {
		if err := c.writeStatus(ctx, r); err != nil {
			return fmt.Errorf("adding uncounted pods to status: %w", err)
		}
		c.backoff.set(key, r.backoff)
	}
	var mu sync.Mutex
	failure := control.Each(release, func(p *v1.Pod) error {
		if err := c.release(ctx, p); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		delete(open, p.UID)
		return nil
	})
	changed = r.count(open)
	over := failure == nil && !more && r.conclude()
	if !changed && !over {
		return failure
	}
	if err := c.writeStatus(ctx, r); err != nil {
		return errors.Join(failure, fmt.Errorf("removing uncounted pods from status: %w", err))
	}
	if over {
		c.tellEnd(r)
	}
	return failure
}

// release takes off the finalizer of a pod that has been noted.
func (c *Controller) release(ctx context.Context, p *v1.Pod) error {
	c.released.add(p.UID)
	err := c.kit.PatchPod(ctx, p, untrack(p))
	switch {
	case err == nil:
		return nil
	case !apierrors.IsNotFound(err):
		c.released.forget(p.UID)
		return fmt.Errorf("removing tracking finalizer: %w", err)
	}
	// It is gone, which the cache may have shown before it was remembered here.
	if live, ok, _ := c.pods.GetByKey(p.Namespace + "/" + p.Name); !ok || live.(*v1.Pod).UID != p.UID {
		c.released.forget(p.UID)
	}
	return nil
}

func (c *Controller) writeStatus(ctx context.Context, r *round) error {
	next, err := c.kit.Client.BatchV1().Jobs(r.job.Namespace).UpdateStatus(ctx, r.job, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	status := r.job.Status
	r.job = next.DeepCopy()
	// The server may have dropped what is empty.
	r.job.Status.UncountedTerminatedPods = status.UncountedTerminatedPods
	return nil
}

func (c *Controller) tellEnd(r *round) {
	if r.finish.Type != batchv1.JobComplete {
		c.events.Event(r.job, v1.EventTypeWarning, r.finish.Reason, r.finish.Message)
		return
	}
	if n := r.job.Spec.Completions; n != nil && r.job.Status.Succeeded > *n {
		c.events.Event(r.job, v1.EventTypeWarning, "TooManySucceededPods", "Too many succeeded pods running after completion count reached")
	}
	c.events.Event(r.job, v1.EventTypeNormal, "Completed", "Job completed")
}

// untrack is the patch that takes the finalizer off a pod.
func untrack(p *v1.Pod) []byte {
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`, p.UID, batchv1.JobTrackingFinalizer)
}

// syncOrphan takes the finalizer off a pod that no Job will count.
func (c *Controller) syncOrphan(ctx context.Context, key string) error {
	obj, ok, err := c.pods.GetByKey(key)
	if err != nil || !ok {
		return err
	}
	p := obj.(*v1.Pod)
	if !tracked(p) {
		return nil
	}
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil && (ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String()) {
		return nil // somebody else's
	}
	if job, ok := c.owners.Of(p); ok && (elsewhere(job) || !over(job)) {
		return nil
	}
	err = c.kit.PatchPod(ctx, p, untrack(p))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
