package podgc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// period is how often pods are looked at.
	period = 20 * time.Second
	// quarantine is how long a node must be missing before its pods are given up.
	quarantine = 40 * time.Second
)

// Controller deletes pods that nobody else will.
type Controller struct {
	kit       control.Kit
	threshold int
	pods      corelisters.PodLister
	nodes     corelisters.NodeLister
	watches   control.Watches
	now       func() time.Time
	// missing is since when nodes are not there.
	missing map[string]time.Time
}

// New returns the controller. threshold is how many finished pods may stay, 0 for all.
// The informers of kit must not have been started.
func New(kit control.Kit, threshold int) (*Controller, error) {
	pods, nodes := kit.Informers.Core().V1().Pods(), kit.Informers.Core().V1().Nodes()
	c := &Controller{
		kit: kit, threshold: threshold, pods: pods.Lister(), nodes: nodes.Lister(), now: time.Now, missing: map[string]time.Time{},
	}
	return c, c.watches.Add("the collection of pods", control.Handlers{pods.Informer(): nil, nodes.Informer(): nil})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.collectAlways) }

// collectAlways makes a pass now and then.
func (c *Controller) collectAlways(ctx context.Context) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		c.collect(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// collect makes one pass.
func (c *Controller) collect(ctx context.Context) {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return // a cache does not fail
	}
	gone := c.missingNodes(ctx, pods)
	for _, v := range decide(pods, func(node string) bool { return gone[node] }, c.threshold) {
		if err := c.remove(ctx, v); err != nil && ctx.Err() == nil {
			c.kit.Log.Warn("a pod could not be collected", "controller", "podgc", "pod", v.pod.Namespace+"/"+v.pod.Name, "error", err)
		}
	}
}

// missingNodes returns the nodes that pods are on and that have been missing for longer
// than the quarantine, the API server confirming.
func (c *Controller) missingNodes(ctx context.Context, pods []*v1.Pod) map[string]bool {
	now, gone, seen := c.now(), map[string]bool{}, map[string]bool{}
	for _, p := range pods {
		name := p.Spec.NodeName
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		if _, err := c.nodes.Get(name); err == nil {
			delete(c.missing, name)
			continue
		}
		since, known := c.missing[name]
		if !known {
			c.missing[name] = now
			continue
		}
		if now.Sub(since) < quarantine {
			continue
		}
		_, err := c.kit.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		gone[name] = apierrors.IsNotFound(err)
	}
	for name := range c.missing {
		if !seen[name] {
			delete(c.missing, name)
		}
	}
	return gone
}

func (c *Controller) remove(ctx context.Context, v victim) error {
	client := c.kit.Client.CoreV1().Pods(v.pod.Namespace)
	if v.why != tooMany && !control.PodFinished(v.pod) {
		if err := c.fail(ctx, v); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("mark it as failed: %w", err)
		}
	}
	err := client.Delete(ctx, v.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64),
		Preconditions:      metav1.NewUIDPreconditions(string(v.pod.UID)),
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// fail gives a pod the phase that tells its owner that it will not come back.
func (c *Controller) fail(ctx context.Context, v victim) error {
	status := map[string]any{"phase": v1.PodFailed}
	if v.why == nodeGone {
		status["conditions"] = []v1.PodCondition{{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "DeletionByPodGC",
			Message: "PodGC: node no longer exists", LastTransitionTime: metav1.NewTime(c.now()),
		}}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": v.pod.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = c.kit.Client.CoreV1().Pods(v.pod.Namespace).Patch(ctx, v.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
