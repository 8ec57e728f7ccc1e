package deployment

import (
	"context"
	"fmt"
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
)

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Controller reconciles Deployments.
type Controller struct {
	kit         control.Kit
	loop        *control.Loop
	events      record.EventRecorder
	deployments appslisters.DeploymentLister
	setLister   appslisters.ReplicaSetLister
	sets        cache.Indexer
	pods        cache.Indexer
	watches     control.Watches
	now         func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	deployments := kit.Informers.Apps().V1().Deployments()
	sets := kit.Informers.Apps().V1().ReplicaSets()
	pods := kit.Informers.Core().V1().Pods()
	c := &Controller{
		kit: kit, events: kit.Events("deployment-controller"), deployments: deployments.Lister(),
		setLister: sets.Lister(), sets: sets.Informer().GetIndexer(), pods: pods.Informer().GetIndexer(), now: time.Now,
	}
	c.loop = control.NewLoop("deployment", kit.Log, c.sync)
	for _, informer := range []cache.SharedIndexInformer{sets.Informer(), pods.Informer()} {
		if err := control.IndexOwners(informer); err != nil {
			return nil, err
		}
	}
	return c, c.watches.Add("the Deployment controller", control.Handlers{
		deployments.Informer(): control.Touched(c.loop.AddObject),
		sets.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { c.wake(obj.(*appsv1.ReplicaSet)) }, UpdateFunc: c.updateSet, DeleteFunc: control.OnGone(c.wake),
		},
		// A Deployment that is to be recreated waits for the last old pod to go.
		pods.Informer(): cache.ResourceEventHandlerFuncs{DeleteFunc: control.OnGone(c.podGone)},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(5)) }

// wake asks for attention to the Deployment of a ReplicaSet, or to those that may adopt
// it.
func (c *Controller) wake(rs *appsv1.ReplicaSet) {
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		if ref.Kind == kind.Kind {
			c.loop.Add(rs.Namespace + "/" + ref.Name)
		}
		return
	}
	if len(rs.Labels) == 0 || rs.DeletionTimestamp != nil {
		return
	}
	adopters, err := c.deployments.Deployments(rs.Namespace).List(labels.Everything())
	if err != nil {
		return // a cache does not fail
	}
	for _, d := range adopters {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(rs.Labels)) {
			c.loop.AddObject(d)
		}
	}
}

func (c *Controller) updateSet(old, obj any) {
	a, b := old.(*appsv1.ReplicaSet), obj.(*appsv1.ReplicaSet)
	if control.Left(a, b) {
		c.wake(a)
	}
	c.wake(b)
}

func (c *Controller) podGone(p *v1.Pod) {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	rs, err := c.setLister.ReplicaSets(p.Namespace).Get(ref.Name)
	if err != nil {
		return // its own deletion wakes the Deployment
	}
	owner := metav1.GetControllerOfNoCopy(rs)
	if owner == nil {
		return
	}
	if d, err := c.deployments.Deployments(p.Namespace).Get(owner.Name); err == nil && !rolling(d) {
		c.loop.AddObject(d)
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	cached, found, err := control.Lookup(key, func(namespace, name string) (*appsv1.Deployment, error) {
		return c.deployments.Deployments(namespace).Get(name)
	})
	if !found {
		return err
	}
	d := cached.DeepCopy()
	if apiequality.Semantic.DeepEqual(d.Spec.Selector, &metav1.LabelSelector{}) {
		c.events.Eventf(d, v1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		next := d.Status
		next.ObservedGeneration = d.Generation
		return c.writeStatus(ctx, d, next)
	}
	sets, err := c.claim(ctx, d)
	if err != nil {
		return err
	}
	if d.DeletionTimestamp != nil {
		current, _ := split(d, sets)
		return c.writeStatus(ctx, d, count(d, current, sets, c.now()))
	}
	if err := c.notePause(ctx, d); err != nil {
		return err
	}
	pass := &pass{c: c, d: d, sets: sets}
	if err := pass.run(ctx); err != nil {
		if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
			return nil // nothing can be made there any more
		}
		return fmt.Errorf("deployment %s: %w", key, err)
	}
	if after, ok := checkDeadline(d, &d.Status, c.now()); ok {
		c.loop.AddAfter(key, after)
	}
	return nil
}

func (c *Controller) claim(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("deployment %s/%s: spec.selector: %w", d.Namespace, d.Name, err)
	}
	claimer := control.Claimer[*appsv1.ReplicaSet]{
		Owner: d, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return c.kit.Client.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, rs *appsv1.ReplicaSet, patch []byte) error {
			_, err := c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).Patch(ctx, rs.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.ClaimFrom(ctx, c.sets)
}

// notePause keeps the condition Progressing true to whether the Deployment is paused, so
// that the deadline doesn't run meanwhile.
func (c *Controller) notePause(ctx context.Context, d *appsv1.Deployment) error {
	if !hasDeadline(d) {
		return nil
	}
	old := condition(&d.Status, appsv1.DeploymentProgressing)
	if old != nil && old.Reason == reasonTimedOut {
		return nil
	}
	noted := old != nil && old.Reason == reasonPaused
	next := *d.Status.DeepCopy()
	switch {
	case d.Spec.Paused && !noted:
		setCondition(&next, appsv1.DeploymentProgressing, v1.ConditionUnknown, reasonPaused, "Deployment is paused", c.now())
	case !d.Spec.Paused && noted:
		setCondition(&next, appsv1.DeploymentProgressing, v1.ConditionUnknown, reasonResumed, "Deployment is resumed", c.now())
	default:
		return nil
	}
	return c.writeStatus(ctx, d, next)
}

// writeStatus writes a status that differs, and leaves in d what the server made of it.
func (c *Controller) writeStatus(ctx context.Context, d *appsv1.Deployment, s appsv1.DeploymentStatus) error {
	if apiequality.Semantic.DeepEqual(d.Status, s) {
		return nil
	}
	next := *d
	next.Status = s
	written, err := c.kit.Client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write its status: %w", err)
	}
	d.Status, d.ResourceVersion = written.Status, written.ResourceVersion
	return nil
}
