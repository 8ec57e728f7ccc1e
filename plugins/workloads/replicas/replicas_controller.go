package replicas

import (
	"context"
	"errors"
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
	kit     control.Kit
	loop    *control.Loop
	expect  *control.Expectations
	make    control.Pods
	owners  control.Owners[Set]
	owned   cache.Indexer // the objects by the UID of their controller
	pods    cache.Indexer
	watches control.Watches
	now     func() time.Time
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
	c.owners = control.Owners[Set]{Kind: options.GVK, Get: options.Kind.Get, Expect: c.expect}
	events := control.PodEvents[Set]{Owners: c.owners, Selecting: options.Kind.Selecting, Wake: c.loop.Add}
	return c, c.watches.Add("the "+options.GVK.Kind+" controller", control.Handlers{
		options.Informer: c.owners.Handler(c.loop),
		pods:             events.Handler(),
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(5)) }

func (c *Controller) sync(ctx context.Context, key string) error {
	set, found, err := c.owners.Lookup(key)
	if !found {
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
	claimer := control.Claimer[*v1.Pod]{
		Owner: set, Kind: c.GVK, Selector: selector, Adoptable: control.PodActive, Patch: c.kit.PatchPod,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return c.Kind.Live(ctx, set.Namespace, set.ReplicaSet.Name)
		},
	}
	return claimer.ClaimFrom(ctx, c.pods)
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
