package statefulset

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// Controller reconciles StatefulSets.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop
	expect  *control.Expectations
	events  record.EventRecorder
	sets    appslisters.StatefulSetLister
	pods    cache.Indexer
	claims  *control.Lazy
	owners  control.Owners[*appsv1.StatefulSet]
	history *history.Store
	watches control.Watches
	now     func() time.Time
}

// New returns the controller. The informers of kit must not have been started. Claims and
// revisions are watched from the first StatefulSet on that needs them.
func New(kit control.Kit) (*Controller, error) {
	sets := kit.Informers.Apps().V1().StatefulSets()
	pods := kit.Informers.Core().V1().Pods().Informer()
	c := &Controller{
		kit: kit, expect: control.NewExpectations(nil), events: kit.Events("statefulset-controller"),
		sets: sets.Lister(), pods: pods.GetIndexer(), now: time.Now,
	}
	c.loop = control.NewLoop("statefulset", kit.Log, c.sync)
	c.owners = control.Owners[*appsv1.StatefulSet]{Kind: kind, Expect: c.expect, Get: func(namespace, name string) (*appsv1.StatefulSet, error) {
		return c.sets.StatefulSets(namespace).Get(name)
	}}
	c.history = history.NewStore(kit, kind, c.live, nil)
	c.claims = control.NewLazy(kit, func() cache.SharedIndexInformer {
		return kit.Informers.Core().V1().PersistentVolumeClaims().Informer()
	}, nil, cache.ResourceEventHandlerFuncs{DeleteFunc: control.OnGone(c.claimGone)})
	if err := control.IndexOwners(pods); err != nil {
		return nil, err
	}
	events := control.PodEvents[*appsv1.StatefulSet]{
		Owners: c.owners, Selecting: c.sets.GetPodStatefulSets, Wake: c.loop.Add, Also: c.nameFreed,
	}
	return c, c.watches.Add("the StatefulSet controller", control.Handlers{
		sets.Informer(): c.owners.Handler(c.loop),
		pods:            events.Handler(),
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(5)) }

func (c *Controller) live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return c.kit.Client.AppsV1().StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
}

// nameFreed wakes the StatefulSet that may need the name of a pod that is gone and was not
// its own.
func (c *Controller) nameFreed(p *v1.Pod, owner *appsv1.StatefulSet, gone bool) {
	cut := strings.LastIndexByte(p.Name, '-')
	if !gone || owner != nil || cut <= 0 {
		return
	}
	if set, err := c.sets.StatefulSets(p.Namespace).Get(p.Name[:cut]); err == nil {
		c.loop.AddObject(set)
	}
}

// claimGone wakes the StatefulSets that may wait for a claim to go or must make another.
func (c *Controller) claimGone(claim *v1.PersistentVolumeClaim) {
	sets, err := c.sets.StatefulSets(claim.Namespace).List(labels.Everything())
	if err != nil {
		return // a cache does not fail
	}
	for _, set := range sets {
		for i := range set.Spec.VolumeClaimTemplates {
			if strings.HasPrefix(claim.Name, set.Spec.VolumeClaimTemplates[i].Name+"-"+set.Name+"-") {
				c.loop.AddObject(set)
				break
			}
		}
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	set, found, err := c.owners.Lookup(key)
	if !found {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || selector.Empty() {
		c.kit.Log.Warn("StatefulSet with a selector that selects everything or can't be read is left alone", "statefulset", key, "err", err)
		return nil
	}
	if !c.expect.Satisfied(key) {
		return nil // the pods that are awaited will wake it
	}
	w, revisions, err := c.look(ctx, set, selector)
	if err != nil {
		return fmt.Errorf("StatefulSet %s: %w", key, err)
	}
	plan := decide(w)
	failure := c.run(ctx, key, set, plan.stages)
	if err := c.writeStatus(ctx, set, plan.status); err != nil {
		return fmt.Errorf("StatefulSet %s: %w", key, err)
	}
	if failure != nil {
		if apierrors.HasStatusCause(failure, v1.NamespaceTerminatingCause) {
			return nil // nothing can be made there any more
		}
		return fmt.Errorf("StatefulSet %s: %w", key, failure)
	}
	if plan.soon > 0 {
		c.loop.AddAfter(key, plan.soon)
	}
	return c.forget(ctx, w, revisions)
}

// look gathers what a pass starts from, adopting and releasing where needed, and writes
// the revision of a new template.
func (c *Controller) look(ctx context.Context, set *appsv1.StatefulSet, selector labels.Selector) (*world, []*appsv1.ControllerRevision, error) {
	revisions, err := c.history.Of(ctx, set, selector)
	if err != nil {
		return nil, nil, err
	}
	w := &world{set: set, claim: func(string) *v1.PersistentVolumeClaim { return nil }, now: c.now()}
	if w.pods, err = c.claimPods(ctx, set, selector); err != nil {
		return nil, nil, err
	}
	if err := c.chooseRevisions(ctx, w, revisions); err != nil {
		return nil, nil, err
	}
	if len(set.Spec.VolumeClaimTemplates) > 0 {
		indexer, err := c.claims.Indexer(ctx)
		if err != nil {
			return nil, nil, err
		}
		w.claim = func(name string) *v1.PersistentVolumeClaim { return cachedClaim(indexer, set.Namespace, name) }
	}
	return w, revisions, nil
}

func cachedClaim(indexer cache.Indexer, namespace, name string) *v1.PersistentVolumeClaim {
	obj, found, err := indexer.GetByKey(namespace + "/" + name)
	if err != nil || !found {
		return nil
	}
	claim, _ := obj.(*v1.PersistentVolumeClaim)
	return claim
}

// claimPods returns the pods of a set, adopting and releasing where needed.
func (c *Controller) claimPods(ctx context.Context, set *appsv1.StatefulSet, selector labels.Selector) ([]*v1.Pod, error) {
	claimer := control.Claimer[*v1.Pod]{
		Owner: set, Kind: kind, Selector: selector, Patch: c.kit.PatchPod,
		Belongs: func(p *v1.Pod) bool {
			_, ok := ordinalOf(set, p.Name)
			return ok
		},
		Live: func(ctx context.Context) (metav1.Object, error) { return c.live(ctx, set.Namespace, set.Name) },
	}
	return claimer.ClaimFrom(ctx, c.pods)
}

func (c *Controller) writeStatus(ctx context.Context, set *appsv1.StatefulSet, s appsv1.StatefulSetStatus) error {
	if apiequality.Semantic.DeepEqual(set.Status, s) {
		return nil
	}
	next := *set
	next.Status = s
	return control.WriteStatus(ctx, c.kit.Client.AppsV1().StatefulSets(set.Namespace), &next)
}
