package disruption

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller keeps the status of budgets.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop // by budget
	pardon  *control.Loop // by pod
	events  record.EventRecorder
	budgets policylisters.PodDisruptionBudgetLister
	pods    corelisters.PodLister
	owners  owners
	watches control.Watches
	now     func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	budgets, pods := kit.Informers.Policy().V1().PodDisruptionBudgets(), kit.Informers.Core().V1().Pods()
	apps, core := kit.Informers.Apps().V1(), kit.Informers.Core().V1()
	c := &Controller{
		kit: kit, events: kit.Events("controllermanager"), budgets: budgets.Lister(), pods: pods.Lister(), now: time.Now,
		owners: owners{
			sets: apps.ReplicaSets().Lister(), deployments: apps.Deployments().Lister(), stateful: apps.StatefulSets().Lister(),
			controllers: core.ReplicationControllers().Lister(), discovery: kit.Client.Discovery(),
		},
	}
	c.loop = control.NewLoop("disruption", kit.Log, c.sync)
	c.pardon = control.NewLoop("disruption-stale", kit.Log, c.syncStale)
	return c, c.watches.Add("the disruption controller", control.Handlers{
		budgets.Informer(): control.Seen(c.loop.AddObject),
		pods.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.podChanged(nil, obj.(*v1.Pod)) },
			UpdateFunc: func(old, obj any) { c.podChanged(old.(*v1.Pod), obj.(*v1.Pod)) },
			DeleteFunc: control.OnGone(c.wake),
		},
		apps.ReplicaSets().Informer():            nil,
		apps.Deployments().Informer():            nil,
		apps.StatefulSets().Informer():           nil,
		core.ReplicationControllers().Informer(): nil,
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	c.watches.Run(ctx, c.loop.Workers(1), c.pardon.Workers(1))
}

func (c *Controller) podChanged(old, p *v1.Pod) {
	if after, ok := stale(p, c.now()); ok {
		c.pardon.AddAfter(p.Namespace+"/"+p.Name, after)
	}
	if old == nil || matters(old, p) {
		c.wake(p)
	}
}

// wake asks for attention to the budget of a pod.
func (c *Controller) wake(p *v1.Pod) {
	budgets, err := c.budgets.GetPodPodDisruptionBudgets(p)
	if err != nil {
		return // it has none
	}
	if len(budgets) > 1 {
		c.events.Eventf(p, v1.EventTypeWarning, "MultiplePodDisruptionBudgets",
			"Pod %q/%q matches multiple PodDisruptionBudgets.  Chose %q arbitrarily.", p.Namespace, p.Name, budgets[0].Name)
	}
	c.loop.AddObject(budgets[0])
}

func (c *Controller) sync(ctx context.Context, key string) error {
	pdb, found, err := control.Lookup(key, func(namespace, name string) (*policyv1.PodDisruptionBudget, error) {
		return c.budgets.PodDisruptionBudgets(namespace).Get(name)
	})
	if !found {
		return err
	}
	next, again, err := c.next(ctx, pdb)
	if err != nil {
		c.kit.Log.Info("a disruption budget can't be computed and allows nothing", "poddisruptionbudget", key, "error", err)
		next, again = failed(pdb, err), 0
	}
	if next != nil {
		if err := control.WriteStatus(ctx, c.kit.Client.PolicyV1().PodDisruptionBudgets(pdb.Namespace), next); err != nil {
			return fmt.Errorf("PodDisruptionBudget %s: %w", key, err)
		}
	}
	if again > 0 {
		c.loop.AddAfter(key, again)
	}
	return nil
}

// next computes the status of a budget: nil where it has it already, and when to look again.
func (c *Controller) next(ctx context.Context, pdb *policyv1.PodDisruptionBudget) (*policyv1.PodDisruptionBudget, time.Duration, error) {
	selector, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
	if err != nil {
		return nil, 0, fmt.Errorf("spec.selector: %w", err)
	}
	pods, err := c.pods.Pods(pdb.Namespace).List(selector)
	if err != nil {
		return nil, 0, err
	}
	if len(pods) == 0 {
		c.events.Event(pdb, v1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	expected := int32(len(pods))
	if needsScale(&pdb.Spec) {
		var unmanaged []string
		if expected, unmanaged, err = c.owners.expected(ctx, pods); err != nil {
			c.events.Eventf(pdb, v1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
			return nil, 0, err
		}
		if len(unmanaged) > 0 {
			c.events.Eventf(pdb, v1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found "+
				"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
				"To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", pdb.Spec.Selector)
		}
	}
	desired, err := expectation(&pdb.Spec, expected)
	if err != nil {
		c.events.Eventf(pdb, v1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
		return nil, 0, err
	}
	going, late, again := disrupted(pdb.Status.DisruptedPods, pods, c.now())
	for _, p := range late {
		c.events.Eventf(p, v1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", pdb.Namespace, pdb.Name)
	}
	return withStatus(pdb, healthyPods(pods, going), desired, expected, going), again, nil
}

// syncStale takes back the announcement of a disruption that did not come.
func (c *Controller) syncStale(ctx context.Context, key string) error {
	p, found, err := control.Lookup(key, func(namespace, name string) (*v1.Pod, error) { return c.pods.Pods(namespace).Get(name) })
	if !found {
		return err
	}
	after, ok := stale(p, c.now())
	if !ok {
		return nil
	}
	if after > 0 {
		c.pardon.AddAfter(key, after)
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID, "resourceVersion": p.ResourceVersion},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": v1.DisruptionTarget, "status": v1.ConditionFalse, "reason": nil, "message": nil,
			"lastTransitionTime": metav1.NewTime(c.now()),
		}}},
	})
	if err != nil {
		return err
	}
	_, err = c.kit.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
