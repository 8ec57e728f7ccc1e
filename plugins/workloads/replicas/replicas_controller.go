package replicas

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller keeps the replicas of the objects of one kind.
type Controller struct {
	Options
	kit    control.Kit
	loop   *control.Loop
	expect *control.Expectations
	make   control.Pods
	owned  cache.Indexer // the objects by the UID of their controller
	pods   cache.Indexer
	synced []cache.InformerSynced
	now    func() time.Time
}

// New returns a controller. The informers of kit must not have been started.
func New(kit control.Kit, options Options) (*Controller, error) {
	pods := kit.Informers.Core().V1().Pods().Informer()
	c := &Controller{
		Options: options, kit: kit, expect: control.NewExpectations(nil),
		owned: options.Informer.GetIndexer(), pods: pods.GetIndexer(), now: time.Now,
	}
	c.make = control.Pods{Client: kit.Client, Expect: c.expect, Events: kit.Events(options.Component)}
	c.loop = control.NewLoop(options.Name, kit.Log, c.sync)
	for _, informer := range []cache.SharedIndexInformer{options.Informer, pods} {
		if err := control.IndexOwners(informer); err != nil {
			return nil, err
		}
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		options.Informer: cache.ResourceEventHandlerFuncs{
			AddFunc: c.loop.AddObject, UpdateFunc: c.updateSet, DeleteFunc: c.deleteSet,
		},
		pods: cache.ResourceEventHandlerFuncs{
			AddFunc: c.addPod, UpdateFunc: c.updatePod, DeleteFunc: c.deletePod,
		},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the %s controller: %w", options.GVK.Kind, err)
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
	a, b := old.(metav1.Object), obj.(metav1.Object)
	if a.GetUID() != b.GetUID() {
		c.deleteSet(old)
	}
	c.loop.AddObject(obj)
}

func (c *Controller) deleteSet(obj any) {
	key, ok := control.Key(obj)
	if !ok {
		return
	}
	c.expect.Forget(key)
	c.loop.Add(key)
}

// ownerOf returns the key of the object of our kind that controls a pod, or "".
func (c *Controller) ownerOf(p *v1.Pod) string {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != c.GVK.Kind || ref.APIVersion != c.GVK.GroupVersion().String() {
		return ""
	}
	set, err := c.Kind.Get(p.Namespace, ref.Name)
	if err != nil || set.UID != ref.UID {
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

// offer wakes the objects that may adopt a pod without controller.
func (c *Controller) offer(p *v1.Pod) {
	if metav1.GetControllerOfNoCopy(p) != nil || len(p.Labels) == 0 {
		return
	}
	for _, set := range c.Kind.Selecting(p) {
		c.loop.AddObject(set.ReplicaSet)
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
	set, err := c.Kind.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		c.expect.Forget(key)
		return nil
	}
	if err != nil {
		return err
	}
	satisfied := c.expect.Satisfied(key)
	all, err := c.claim(ctx, set)
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
	if satisfied && set.DeletionTimestamp == nil {
		failure = c.manage(ctx, key, set, active)
	}
	next, soon := status(set.ReplicaSet, active, terminating, failure, c.now())
	if !sameStatus(&set.Status, &next) {
		if err := c.Kind.UpdateStatus(ctx, set, next); err != nil && !apierrors.IsNotFound(err) {
			return errors.Join(failure, err)
		}
	}
	if failure == nil && soon > 0 {
		c.loop.AddAfter(key, soon)
	}
	return failure
}

// claim returns the pods of an object, adopting and releasing where needed.
func (c *Controller) claim(ctx context.Context, set Set) ([]*v1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || selector.Empty() {
		c.kit.Log.Warn(c.GVK.Kind+" with a selector that selects everything or can't be read is left alone", c.Name, set.Namespace+"/"+set.ReplicaSet.Name, "err", err)
		return nil, nil
	}
	mine, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(set.UID))
	if err != nil {
		return nil, err
	}
	orphans, err := control.Indexed[*v1.Pod](c.pods, control.ByOrphan, set.Namespace)
	if err != nil {
		return nil, err
	}
	claimer := control.Claimer[*v1.Pod]{
		Owner: set, Kind: c.GVK, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return c.Kind.Live(ctx, set.Namespace, set.ReplicaSet.Name)
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
func (c *Controller) manage(ctx context.Context, key string, set Set, active []*v1.Pod) error {
	work := decide(set.ReplicaSet, active, nil, c.now())
	if len(work.remove) > 0 && len(work.remove) < len(active) {
		work = decide(set.ReplicaSet, active, c.related(set, active), c.now())
	}
	if work.create > 0 {
		c.expect.Expect(key, work.create)
		made, err := control.SlowStart(work.create, func(int) error {
			return c.make.Create(ctx, key, set.Origin, control.PodFrom(&set.Spec.Template, set, c.GVK))
		})
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
	return control.Each(work.remove, func(p *v1.Pod) error { return c.make.Delete(ctx, key, set.Origin, p) })
}

// related returns the pods of all objects with the controller of set: during a rollout
// the pods of the old and the new one share the nodes.
func (c *Controller) related(set Set, active []*v1.Pod) []*v1.Pod {
	ref := metav1.GetControllerOfNoCopy(set)
	if ref == nil {
		return active
	}
	siblings, err := control.Indexed[metav1.Object](c.owned, control.ByController, string(ref.UID))
	if err != nil {
		return active
	}
	var out []*v1.Pod
	for _, s := range siblings {
		pods, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(s.GetUID()))
		if err != nil {
			return active
		}
		out = append(out, pods...)
	}
	return out
}
