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
	"k8s.io/apimachinery/pkg/types"
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
	history *history.Store
	synced  []cache.InformerSynced
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
	c.history = history.NewStore(kit, kind, c.live, nil)
	c.claims = control.NewLazy(kit, func() cache.SharedIndexInformer {
		return kit.Informers.Core().V1().PersistentVolumeClaims().Informer()
	}, nil, cache.ResourceEventHandlerFuncs{DeleteFunc: c.deleteClaim})
	if err := control.IndexOwners(pods); err != nil {
		return nil, err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		sets.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.loop.AddObject, UpdateFunc: c.updateSet, DeleteFunc: c.deleteSet,
		},
		pods: cache.ResourceEventHandlerFuncs{
			AddFunc: c.addPod, UpdateFunc: c.updatePod, DeleteFunc: c.deletePod,
		},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the StatefulSet controller: %w", err)
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

func (c *Controller) live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return c.kit.Client.AppsV1().StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (c *Controller) updateSet(old, obj any) {
	a, b := old.(*appsv1.StatefulSet), obj.(*appsv1.StatefulSet)
	if a.UID != b.UID {
		c.deleteSet(a)
	}
	c.loop.AddObject(b)
}

func (c *Controller) deleteSet(obj any) {
	if key, ok := control.Key(obj); ok {
		c.expect.Forget(key)
	}
}

// ownerOf returns the key of the StatefulSet that controls a pod, or "".
func (c *Controller) ownerOf(p *v1.Pod) string {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String() {
		return ""
	}
	set, err := c.sets.StatefulSets(p.Namespace).Get(ref.Name)
	if err != nil || set.UID != ref.UID {
		return ""
	}
	return p.Namespace + "/" + ref.Name
}

func (c *Controller) addPod(obj any) {
	p := obj.(*v1.Pod)
	if key := c.ownerOf(p); key != "" {
		c.expect.Created(key, 1)
		if p.DeletionTimestamp != nil {
			c.expect.Deleted(key, p.UID)
		}
		c.loop.Add(key)
		return
	}
	c.offer(p)
}

// offer wakes the StatefulSets that may adopt a pod without controller.
func (c *Controller) offer(p *v1.Pod) {
	if metav1.GetControllerOfNoCopy(p) != nil || len(p.Labels) == 0 {
		return
	}
	sets, err := c.sets.GetPodStatefulSets(p)
	if err != nil {
		return // none matches
	}
	for _, set := range sets {
		c.loop.AddObject(set)
	}
}

func (c *Controller) updatePod(oldObj, obj any) {
	old, p := oldObj.(*v1.Pod), obj.(*v1.Pod)
	before, after := c.ownerOf(old), c.ownerOf(p)
	if before != "" && before != after {
		c.loop.Add(before)
	}
	if after == "" {
		c.offer(p)
		return
	}
	if p.DeletionTimestamp != nil {
		c.expect.Deleted(after, p.UID)
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
		return
	}
	// A pod that is not the set's may have had a name that the set needs.
	if cut := strings.LastIndexByte(p.Name, '-'); cut > 0 {
		if set, err := c.sets.StatefulSets(p.Namespace).Get(p.Name[:cut]); err == nil {
			c.loop.AddObject(set)
		}
	}
}

// deleteClaim wakes the StatefulSets that may wait for a claim to go or must make another.
func (c *Controller) deleteClaim(obj any) {
	claim, ok := control.Gone[*v1.PersistentVolumeClaim](obj)
	if !ok {
		return
	}
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
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	set, err := c.sets.StatefulSets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.expect.Forget(key)
		return nil
	}
	if err != nil {
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
	mine, err := control.Indexed[*v1.Pod](c.pods, control.ByController, string(set.UID))
	if err != nil {
		return nil, err
	}
	orphans, err := control.Indexed[*v1.Pod](c.pods, control.ByOrphan, set.Namespace)
	if err != nil {
		return nil, err
	}
	claimer := control.Claimer[*v1.Pod]{
		Owner: set, Kind: kind, Selector: selector,
		Belongs: func(p *v1.Pod) bool {
			_, ok := ordinalOf(set, p.Name)
			return ok
		},
		Live: func(ctx context.Context) (metav1.Object, error) { return c.live(ctx, set.Namespace, set.Name) },
		Patch: func(ctx context.Context, p *v1.Pod, patch []byte) error {
			_, err := c.kit.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.Claim(ctx, append(mine, orphans...))
}

func (c *Controller) writeStatus(ctx context.Context, set *appsv1.StatefulSet, s appsv1.StatefulSetStatus) error {
	if apiequality.Semantic.DeepEqual(set.Status, s) {
		return nil
	}
	next := *set
	next.Status = s
	_, err := c.kit.Client.AppsV1().StatefulSets(set.Namespace).UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write its status: %w", err)
	}
	return nil
}
