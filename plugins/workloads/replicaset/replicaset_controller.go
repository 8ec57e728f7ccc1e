package replicaset

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// Controller reconciles ReplicaSets.
type Controller struct {
	kit    control.Kit
	loop   *control.Loop
	expect *control.Expectations
	events record.EventRecorder
	sets   appslisters.ReplicaSetLister
	owned  cache.Indexer // ReplicaSets by the UID of their controller
	pods   cache.Indexer
	synced []cache.InformerSynced
	now    func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	sets := kit.Informers.Apps().V1().ReplicaSets()
	pods := kit.Informers.Core().V1().Pods()
	c := &Controller{
		kit: kit, expect: control.NewExpectations(nil), events: kit.Events("replicaset-controller"),
		sets: sets.Lister(), owned: sets.Informer().GetIndexer(), pods: pods.Informer().GetIndexer(), now: time.Now,
	}
	c.loop = control.NewLoop("replicaset", kit.Log, c.sync)
	for _, informer := range []cache.SharedIndexInformer{sets.Informer(), pods.Informer()} {
		if err := control.IndexOwners(informer); err != nil {
			return nil, err
		}
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		sets.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.loop.AddObject, UpdateFunc: c.updateSet, DeleteFunc: c.deleteSet,
		},
		pods.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.addPod, UpdateFunc: c.updatePod, DeleteFunc: c.deletePod,
		},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the ReplicaSet controller: %w", err)
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	return c, nil
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		c.loop.Run(ctx, 5)
	}
}

func (c *Controller) updateSet(old, obj any) {
	a, b := old.(*appsv1.ReplicaSet), obj.(*appsv1.ReplicaSet)
	if a.UID != b.UID {
		c.deleteSet(a)
	}
	c.loop.AddObject(b)
}

func (c *Controller) deleteSet(obj any) {
	key, ok := control.Key(obj)
	if !ok {
		return
	}
	c.expect.Forget(key)
	c.loop.Add(key)
}

// ownerOf returns the key of the ReplicaSet that controls a pod, or "".
func (c *Controller) ownerOf(p *v1.Pod) string {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String() {
		return ""
	}
	rs, err := c.sets.ReplicaSets(p.Namespace).Get(ref.Name)
	if err != nil || rs.UID != ref.UID {
		return ""
	}
	return p.Namespace + "/" + ref.Name
}

func (c *Controller) addPod(obj any) {
	p := obj.(*v1.Pod)
	if p.DeletionTimestamp != nil {
		c.deletePod(p)
		return
	}
	if key := c.ownerOf(p); key != "" {
		c.expect.Created(key, 1)
		c.loop.Add(key)
		return
	}
	c.offer(p)
}

// offer wakes the ReplicaSets that may adopt a pod without controller.
func (c *Controller) offer(p *v1.Pod) {
	if metav1.GetControllerOfNoCopy(p) != nil || len(p.Labels) == 0 {
		return
	}
	sets, err := c.sets.GetPodReplicaSets(p)
	if err != nil {
		return // no ReplicaSet matches
	}
	for _, rs := range sets {
		c.loop.AddObject(rs)
	}
}

func (c *Controller) updatePod(oldObj, obj any) {
	old, p := oldObj.(*v1.Pod), obj.(*v1.Pod)
	if p.DeletionTimestamp != nil {
		c.deletePod(p)
		return
	}
	before, after := c.ownerOf(old), c.ownerOf(p)
	if before != "" && before != after {
		c.loop.Add(before)
	}
	if after == "" {
		c.offer(p)
		return
	}
	c.loop.Add(after)
}

func (c *Controller) deletePod(obj any) {
	p, ok := control.Gone[*v1.Pod](obj)
	if !ok {
		return
	}
	if key := c.ownerOf(p); key != "" {
		c.expect.Deleted(key, p.UID)
		c.loop.Add(key)
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	rs, err := c.sets.ReplicaSets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.expect.Forget(key)
		return nil
	}
	if err != nil {
		return err
	}
	satisfied := c.expect.Satisfied(key)
	all, err := c.claim(ctx, rs)
	if err != nil {
		return err
	}
	var active []*v1.Pod
	terminating := 0
	for _, p := range all {
		switch {
		case control.PodActive(p):
			active = append(active, p)
		case !control.PodFinished(p):
			terminating++
		}
	}
	var failure error
	if satisfied && rs.DeletionTimestamp == nil {
		failure = c.manage(ctx, key, rs, active)
	}
	next, soon := status(rs, active, terminating, failure, c.now())
	if err := c.writeStatus(ctx, rs, next); err != nil {
		return errors.Join(failure, err)
	}
	if failure == nil && soon > 0 {
		c.loop.AddAfter(key, soon)
	}
	return failure
}

// claim returns the pods of a ReplicaSet, adopting and releasing where needed.
func (c *Controller) claim(ctx context.Context, rs *appsv1.ReplicaSet) ([]*v1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil || selector.Empty() {
		c.kit.Log.Warn("ReplicaSet with a selector that selects everything or can't be read is left alone", "replicaset", rs.Namespace+"/"+rs.Name, "err", err)
		return nil, nil
	}
	mine, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(rs.UID))
	if err != nil {
		return nil, err
	}
	orphans, err := control.Indexed[*v1.Pod](c.pods, control.ByOrphan, rs.Namespace)
	if err != nil {
		return nil, err
	}
	claimer := control.Claimer[*v1.Pod]{
		Owner: rs, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).Get(ctx, rs.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, p *v1.Pod, patch []byte) error {
			_, err := c.kit.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	candidates := mine
	for _, p := range orphans {
		if control.PodActive(p) {
			candidates = append(candidates, p)
		}
	}
	return claimer.Claim(ctx, candidates)
}

// manage makes and deletes pods.
func (c *Controller) manage(ctx context.Context, key string, rs *appsv1.ReplicaSet, active []*v1.Pod) error {
	work := decide(rs, active, nil, c.now())
	if len(work.remove) > 0 && len(work.remove) < len(active) {
		work = decide(rs, active, c.related(rs, active), c.now())
	}
	if work.create > 0 {
		c.expect.Expect(key, work.create)
		made, err := slowStart(work.create, func() error { return c.createPod(ctx, key, rs) })
		// What was not tried will not be seen either.
		c.expect.Created(key, work.create-made)
		return err
	}
	if len(work.remove) == 0 {
		return nil
	}
	uids := make([]types.UID, len(work.remove))
	for i, p := range work.remove {
		uids[i] = p.UID
	}
	c.expect.Expect(key, 0, uids...)
	return each(work.remove, func(p *v1.Pod) error { return c.deletePodOf(ctx, key, rs, p) })
}

// related returns the pods of all ReplicaSets with the controller of rs: during a
// rollout the pods of the old and the new one share the nodes.
func (c *Controller) related(rs *appsv1.ReplicaSet, active []*v1.Pod) []*v1.Pod {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil {
		return active
	}
	siblings, err := control.Indexed[*appsv1.ReplicaSet](c.owned, control.ByController, string(ref.UID))
	if err != nil {
		return active
	}
	var out []*v1.Pod
	for _, s := range siblings {
		pods, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(s.UID))
		if err != nil {
			return active
		}
		out = append(out, pods...)
	}
	return out
}

func (c *Controller) createPod(ctx context.Context, key string, rs *appsv1.ReplicaSet) error {
	pod, err := c.kit.Client.CoreV1().Pods(rs.Namespace).Create(ctx, podFrom(rs), metav1.CreateOptions{})
	if err == nil {
		c.events.Eventf(rs, v1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
		return nil
	}
	c.expect.Created(key, 1)
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		// Nothing can be made there any more, and nothing needs to.
		return nil
	}
	c.events.Eventf(rs, v1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return err
}

func (c *Controller) deletePodOf(ctx context.Context, key string, rs *appsv1.ReplicaSet, p *v1.Pod) error {
	err := c.kit.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
	})
	if err == nil {
		c.events.Eventf(rs, v1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", p.Name)
		return nil
	}
	c.expect.Deleted(key, p.UID)
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.events.Eventf(rs, v1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
	return fmt.Errorf("delete pod %s/%s: %w", p.Namespace, p.Name, err)
}

func (c *Controller) writeStatus(ctx context.Context, rs *appsv1.ReplicaSet, s appsv1.ReplicaSetStatus) error {
	if sameStatus(&rs.Status, &s) {
		return nil
	}
	next := *rs
	next.Status = s
	_, err := c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// slowStart calls f n times in batches of 1, 2, 4, … and stops after a batch in which a
// call failed: what fails once (a quota, a bad template) will mostly fail again. It
// returns how many calls were made.
func slowStart(n int, f func() error) (int, error) {
	made := 0
	for size := 1; made < n; size *= 2 {
		step := min(size, n-made)
		made += step
		if err := each(make([]struct{}, step), func(struct{}) error { return f() }); err != nil {
			return made, err
		}
	}
	return made, nil
}

// inFlight bounds the requests of one pass that run at a time.
const inFlight = 32

// each calls f for all elements, many at a time, and returns the first error.
func each[T any](list []T, f func(T) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	slots := make(chan struct{}, inFlight)
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(x); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}
