package nodelifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	coordinationinformers "k8s.io/client-go/informers/coordination/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// byNode is the name of the index of pods by their node.
const byNode = "node"

// Controller watches over nodes.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop
	evict   *control.Loop
	events  record.EventRecorder
	nodes   corelisters.NodeLister
	pods    cache.Indexer
	leases  cache.SharedIndexInformer
	watches control.Watches
	// period is how often nodes are looked at, grace how long one may be silent.
	period, grace time.Duration
	now           func() time.Time

	mu sync.Mutex
	// signs are the nodes' last signs of life. Only our own clock counts: theirs may
	// differ.
	signs map[string]sign
	// tainted is since when NoExecute taints without a time of their own are known.
	tainted map[string]time.Time
}

// sign is what a node last showed and when that was seen to change.
type sign struct {
	renewed, heartbeat time.Time
	seen               time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit, period, grace time.Duration) (*Controller, error) {
	nodes, pods := kit.Informers.Core().V1().Nodes(), kit.Informers.Core().V1().Pods()
	c := &Controller{
		kit: kit, events: kit.Events("node-controller"), nodes: nodes.Lister(), pods: pods.Informer().GetIndexer(),
		leases: coordinationinformers.NewLeaseInformer(kit.Client, v1.NamespaceNodeLease, 0, cache.Indexers{}),
		period: period, grace: grace, now: time.Now, signs: map[string]sign{}, tainted: map[string]time.Time{},
	}
	c.loop = control.NewLoop("nodelifecycle", kit.Log, c.sync)
	c.evict = control.NewLoop("nodelifecycle/eviction", kit.Log, c.syncPod)
	if err := c.leases.SetTransform(control.Trim); err != nil {
		return nil, fmt.Errorf("watch leases: %w", err)
	}
	err := pods.Informer().AddIndexers(cache.Indexers{byNode: func(obj any) ([]string, error) {
		if p, ok := obj.(*v1.Pod); ok && p.Spec.NodeName != "" {
			return []string{p.Spec.NodeName}, nil
		}
		return nil, nil
	}})
	if err != nil {
		return nil, fmt.Errorf("index of pods: %w", err)
	}
	return c, c.watches.Add("the life cycle of nodes", control.Handlers{
		nodes.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.nodeChanged, UpdateFunc: func(_, obj any) { c.nodeChanged(obj) }, DeleteFunc: c.nodeGone,
		},
		pods.Informer(): control.Seen(c.podChanged),
		c.leases:        nil,
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.leases.RunWithContext(ctx) })
	c.watches.Run(ctx, c.lookAlways, c.loop.Workers(4), c.evict.Workers(4))
	wg.Wait()
}

// lookAlways has all nodes looked at now and then.
func (c *Controller) lookAlways(ctx context.Context) {
	ticker := time.NewTicker(c.period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		nodes, err := c.nodes.List(labels.Everything())
		if err != nil {
			continue // a cache does not fail
		}
		for _, n := range nodes {
			c.loop.Add(n.Name)
		}
	}
}

func (c *Controller) nodeChanged(obj any) {
	n := obj.(*v1.Node)
	c.loop.Add(n.Name)
	if len(noExecute(n)) == 0 {
		return
	}
	for _, p := range c.podsOn(n.Name) {
		c.evict.AddObject(p)
	}
}

func (c *Controller) nodeGone(obj any) {
	if n, ok := control.Gone[*v1.Node](obj); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.signs, n.Name)
		for _, t := range noExecute(n) {
			delete(c.tainted, n.Name+"/"+t.Key)
		}
	}
}

func (c *Controller) podsOn(node string) []*v1.Pod {
	pods, err := control.Indexed[*v1.Pod](c.pods, byNode, node)
	if err != nil {
		return nil // the index is there since New
	}
	return pods
}

// silentFor returns for how long a node has shown no sign of life.
func (c *Controller) silentFor(n *v1.Node) time.Duration {
	var renewed, heartbeat time.Time
	if obj, ok, err := c.leases.GetStore().GetByKey(v1.NamespaceNodeLease + "/" + n.Name); ok && err == nil {
		if lease := obj.(*coordinationv1.Lease); lease.Spec.RenewTime != nil {
			renewed = lease.Spec.RenewTime.Time
		}
	}
	for i := range n.Status.Conditions {
		if t := n.Status.Conditions[i].LastHeartbeatTime.Time; t.After(heartbeat) {
			heartbeat = t
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.signs[n.Name]
	if !known || !renewed.Equal(s.renewed) || !heartbeat.Equal(s.heartbeat) {
		s = sign{renewed: renewed, heartbeat: heartbeat, seen: c.now()}
		c.signs[n.Name] = s
	}
	return c.now().Sub(s.seen)
}

func (c *Controller) sync(ctx context.Context, name string) error {
	cached, err := c.nodes.Get(name)
	if err != nil || cached.DeletionTimestamp != nil {
		return nil //nolint:nilerr // gone (all that a lister's error says) or going
	}
	n := *cached
	if c.silentFor(cached) > c.grace {
		if conditions := silence(cached, c.now()); len(conditions) > 0 {
			written, err := c.patchStatus(ctx, name, conditions)
			if err != nil {
				return err
			}
			n = *written
		}
	}
	evict := false
	if !ready(&n) && conditionOf(&n, v1.NodeReady) != nil {
		evict = c.someReady(&n)
		if err := c.podsNotReady(ctx, &n); err != nil {
			return err
		}
	}
	want, changed := taints(&n, evict, c.now())
	if !changed {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": n.ResourceVersion}, "spec": map[string]any{"taints": want},
	})
	if err != nil {
		return err
	}
	_, err = c.kit.Client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("taint node %s: %w", name, err)
	}
	return nil
}

func (c *Controller) patchStatus(ctx context.Context, name string, conditions []v1.NodeCondition) (*v1.Node, error) {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": conditions}})
	if err != nil {
		return nil, err
	}
	n, err := c.kit.Client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("mark node %s as silent: %w", name, err)
	}
	return n, nil
}

// someReady reports whether a node beside current, which is not ready, is ready.
func (c *Controller) someReady(current *v1.Node) bool {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return false
	}
	for _, n := range nodes {
		if n.Name != current.Name && ready(n) {
			return true
		}
	}
	return false
}

// podsNotReady takes the pods of a node that is not ready out of service.
func (c *Controller) podsNotReady(ctx context.Context, n *v1.Node) error {
	var failures []error
	told := false
	for _, p := range c.podsOn(n.Name) {
		if _, isReady := control.PodReady(p); !isReady || p.DeletionTimestamp != nil {
			continue
		}
		if !told {
			told = true
			c.events.Eventf(n, v1.EventTypeNormal, "NodeNotReady", "Node %s status is now: %s", n.Name, "NodeNotReady")
		}
		err := c.patchPod(ctx, p, v1.PodCondition{
			Type: v1.PodReady, Status: v1.ConditionFalse, LastTransitionTime: metav1.NewTime(c.now()),
		})
		if err != nil {
			failures = append(failures, err)
			continue
		}
		c.events.Event(p, v1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	return errors.Join(failures...)
}

func (c *Controller) patchPod(ctx context.Context, p *v1.Pod, condition v1.PodCondition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status":   map[string]any{"conditions": []v1.PodCondition{condition}},
	})
	if err != nil {
		return err
	}
	_, err = c.kit.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("set condition %s of pod %s/%s: %w", condition.Type, p.Namespace, p.Name, err)
	}
	return nil
}
