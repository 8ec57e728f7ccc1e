package daemonset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

var kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// burst bounds how many pods one pass makes, and how many it deletes.
const burst = 250

// Controller reconciles DaemonSets.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop
	expect  *control.Expectations
	events  record.EventRecorder
	make    control.Pods
	sets    appslisters.DaemonSetLister
	nodes   corelisters.NodeLister
	pods    cache.Indexer
	owners  control.Owners[*appsv1.DaemonSet]
	history *history.Store
	failed  *flowcontrol.Backoff // by set, generation and node
	watches control.Watches
	now     func() time.Time
}

// New returns the controller. The informers of kit must not have been started. Revisions
// are watched from the first DaemonSet on.
func New(kit control.Kit) (*Controller, error) {
	sets := kit.Informers.Apps().V1().DaemonSets()
	pods := kit.Informers.Core().V1().Pods().Informer()
	nodes := kit.Informers.Core().V1().Nodes()
	c := &Controller{
		kit: kit, expect: control.NewExpectations(nil), events: kit.Events("daemonset-controller"),
		sets: sets.Lister(), nodes: nodes.Lister(), pods: pods.GetIndexer(),
		failed: flowcontrol.NewBackOff(time.Second, 15*time.Minute), now: time.Now,
	}
	c.make = control.Pods{Client: kit.Client, Expect: c.expect, Events: c.events}
	c.loop = control.NewLoop("daemonset", kit.Log, c.sync)
	c.owners = control.Owners[*appsv1.DaemonSet]{Kind: kind, Expect: c.expect, Get: func(namespace, name string) (*appsv1.DaemonSet, error) {
		return c.sets.DaemonSets(namespace).Get(name)
	}}
	c.history = history.NewStore(kit, kind, c.live, cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) { c.wakeOwner(obj.(*appsv1.ControllerRevision)) }, DeleteFunc: control.OnGone(c.wakeOwner),
	})
	if err := control.IndexOwners(pods); err != nil {
		return nil, err
	}
	events := control.PodEvents[*appsv1.DaemonSet]{Owners: c.owners, Selecting: c.sets.GetPodDaemonSets, Wake: c.loop.Add}
	return c, c.watches.Add("the DaemonSet controller", control.Handlers{
		sets.Informer(): c.owners.Handler(c.loop),
		pods:            events.Handler(),
		nodes.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { c.changeNode(nil, obj.(*v1.Node)) },
			UpdateFunc: func(old, obj any) {
				a, b := old.(*v1.Node), obj.(*v1.Node)
				if !maps.Equal(a.Labels, b.Labels) || !apiequality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) {
					c.changeNode(a, b)
				}
			},
			DeleteFunc: control.OnGone(func(n *v1.Node) { c.changeNode(n, nil) }),
		},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(2)) }

func (c *Controller) live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return c.kit.Client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
}

// wakeOwner wakes the DaemonSet of a revision.
func (c *Controller) wakeOwner(r *appsv1.ControllerRevision) {
	if ds, ok := c.owners.Of(r); ok {
		c.loop.AddObject(ds)
	}
}

// changeNode wakes the DaemonSets to which a change of a node makes a difference. before
// is nil for a new node, after for one that is gone.
func (c *Controller) changeNode(before, after *v1.Node) {
	sets, err := c.sets.List(labels.Everything())
	if err != nil {
		return // a cache does not fail
	}
	for _, ds := range sets {
		place := placementOf(ds)
		var a, b meant
		if before != nil {
			a.run, a.stay = place.on(before)
		}
		if after != nil {
			b.run, b.stay = place.on(after)
		}
		if a != b {
			c.loop.AddObject(ds)
		}
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	ds, found, err := c.owners.Lookup(key)
	if !found {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err == nil && selector.Empty() {
		c.events.Eventf(ds, v1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	if err != nil {
		c.kit.Log.Warn("DaemonSet with a selector that can't be read is left alone", "daemonset", key, "err", err)
		return nil
	}
	if ds.DeletionTimestamp != nil {
		// Its revisions and pods go in any order; there is nothing true to say of them.
		return nil
	}
	satisfied := c.expect.Satisfied(key)
	if err := c.pass(ctx, key, ds, selector, satisfied); err != nil {
		if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
			return nil // nothing can be made there any more
		}
		return fmt.Errorf("DaemonSet %s: %w", key, err)
	}
	return nil
}

// pass looks at a DaemonSet once. Where it is not satisfied, pods that it has made or
// deleted are not seen yet, and it only counts.
func (c *Controller) pass(ctx context.Context, key string, ds *appsv1.DaemonSet, selector labels.Selector, satisfied bool) error {
	sorted, err := c.history.Of(ctx, ds, selector)
	if err != nil {
		return err
	}
	pods, err := c.claimPods(ctx, ds, selector)
	if err != nil {
		return err
	}
	revisions, err := c.chooseRevision(ctx, ds, sorted, pods)
	if err != nil {
		return err
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	w := newWorld(ds, revisions.hash, nodes, pods, c.now())
	w.wait = func(node string) time.Duration { return c.backoff(ds, node, w.now) }
	var failure error
	var again time.Duration
	if satisfied {
		plan := decide(w)
		again = plan.soon
		if plan.empty() && ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
			plan = roll(w)
		}
		failure = c.run(ctx, key, w, plan)
		if failure == nil {
			failure = c.forget(ctx, ds, revisions.old, pods)
		}
	}
	next := status(w)
	next.CollisionCount = revisions.collisions
	if satisfied {
		next.ObservedGeneration = ds.Generation
	}
	if err := c.writeStatus(ctx, ds, next); err != nil {
		return errors.Join(failure, err)
	}
	if left := soon(w); again == 0 || (left > 0 && left < again) {
		again = left
	}
	if failure == nil && again > 0 {
		c.loop.AddAfter(key, again)
	}
	return failure
}

// claimPods returns the pods of a set, adopting and releasing where needed.
func (c *Controller) claimPods(ctx context.Context, ds *appsv1.DaemonSet, selector labels.Selector) ([]*v1.Pod, error) {
	claimer := control.Claimer[*v1.Pod]{
		Owner: ds, Kind: kind, Selector: selector, Patch: c.kit.PatchPod,
		Live: func(ctx context.Context) (metav1.Object, error) { return c.live(ctx, ds.Namespace, ds.Name) },
	}
	return claimer.ClaimFrom(ctx, c.pods)
}

func backoffKey(ds *appsv1.DaemonSet, node string) string {
	return fmt.Sprintf("%s/%d/%s", ds.UID, ds.Status.ObservedGeneration, node)
}

// backoff returns how long a node must wait for its failed pod to be replaced.
func (c *Controller) backoff(ds *appsv1.DaemonSet, node string, now time.Time) time.Duration {
	id := backoffKey(ds, node)
	if !c.failed.IsInBackOffSinceUpdate(id, now) {
		return 0
	}
	return c.failed.Get(id)
}

// run does what a plan says.
func (c *Controller) run(ctx context.Context, key string, w *world, p plan) error {
	if p.empty() {
		return nil
	}
	create, remove := p.create[:min(len(p.create), burst)], p.remove[:min(len(p.remove), burst)]
	c.tell(w, p)
	uids := make([]types.UID, len(remove))
	for i, pod := range remove {
		uids[i] = pod.UID
	}
	c.expect.Expect(key, len(create), uids...)
	made, failure := control.SlowStart(len(create), func(i int) error {
		return c.make.Create(ctx, key, w.ds, newPod(w.ds, w.hash, create[i]))
	})
	// What was not tried will not be seen either.
	c.expect.Created(key, len(create)-made)
	return errors.Join(failure, control.Each(remove, func(pod *v1.Pod) error { return c.make.Delete(ctx, key, w.ds, pod) }))
}

// tell says which pods go because they have ended, and makes nodes wait longer the more
// often they fail.
func (c *Controller) tell(w *world, p plan) {
	for _, pod := range p.failed {
		if !slices.Contains(p.remove[:min(len(p.remove), burst)], pod) {
			continue
		}
		c.failed.Next(backoffKey(w.ds, pod.Spec.NodeName), w.now)
		c.events.Eventf(w.ds, v1.EventTypeWarning, "FailedDaemonPod", "Found failed daemon pod %s/%s on node %s, will try to kill it", pod.Namespace, pod.Name, pod.Spec.NodeName)
	}
	for _, pod := range p.done {
		c.events.Eventf(w.ds, v1.EventTypeNormal, "SucceededDaemonPod", "Found succeeded daemon pod %s/%s on node %s, will try to delete it", pod.Namespace, pod.Name, pod.Spec.NodeName)
	}
	if len(p.failed) > 0 {
		c.failed.GC()
	}
}

func (c *Controller) writeStatus(ctx context.Context, ds *appsv1.DaemonSet, s appsv1.DaemonSetStatus) error {
	if apiequality.Semantic.DeepEqual(ds.Status, s) {
		return nil
	}
	next := *ds
	next.Status = s
	return control.WriteStatus(ctx, c.kit.Client.AppsV1().DaemonSets(ds.Namespace), &next)
}
