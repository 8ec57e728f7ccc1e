package nodelifecycle

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// noExecute returns the taints of a node that drive pods away.
func noExecute(n *v1.Node) []v1.Taint {
	var out []v1.Taint
	for _, t := range n.Spec.Taints {
		if t.Effect == v1.TaintEffectNoExecute {
			out = append(out, t)
		}
	}
	return out
}

// due returns when a pod has to leave a node because of its taints, and false if it may
// stay. since says since when a taint is there.
func due(list []v1.Taint, tolerations []v1.Toleration, since func(v1.Taint) time.Time) (time.Time, bool) {
	var first time.Time
	leaves := false
	for i := range list {
		at, ends := leave(&list[i], tolerations, since)
		if ends && (!leaves || at.Before(first)) {
			first, leaves = at, true
		}
	}
	return first, leaves
}

func leave(t *v1.Taint, tolerations []v1.Toleration, since func(v1.Taint) time.Time) (time.Time, bool) {
	tolerated, bounded := false, false
	var shortest int64
	for j := range tolerations {
		tol := &tolerations[j]
		if !tol.ToleratesTaint(klog.Background(), t, false) {
			continue
		}
		tolerated = true
		if s := tol.TolerationSeconds; s != nil && (!bounded || *s < shortest) {
			bounded, shortest = true, max(*s, 0)
		}
	}
	if tolerated && !bounded {
		return time.Time{}, false
	}
	return since(*t).Add(time.Duration(shortest) * time.Second), true
}

func (c *Controller) podChanged(p *v1.Pod) {
	if p.Spec.NodeName == "" || p.DeletionTimestamp != nil {
		return
	}
	if n, err := c.nodes.Get(p.Spec.NodeName); err == nil && len(noExecute(n)) > 0 {
		c.evict.AddObject(p)
	}
}

// syncPod deletes a pod when it is due, by the taints that its node has now.
func (c *Controller) syncPod(ctx context.Context, key string) error {
	obj, ok, err := c.pods.GetByKey(key)
	if err != nil || !ok {
		return err
	}
	p := obj.(*v1.Pod)
	if p.DeletionTimestamp != nil {
		return nil
	}
	n, err := c.nodes.Get(p.Spec.NodeName)
	if err != nil {
		return nil //nolint:nilerr // pods without their node are collected elsewhere
	}
	at, leaves := due(noExecute(n), p.Spec.Tolerations, func(t v1.Taint) time.Time { return c.since(n.Name, t) })
	if !leaves {
		return nil
	}
	if wait := at.Sub(c.now()); wait > 0 {
		c.evict.AddAfter(key, wait)
		return nil
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	c.events.Eventf(p, v1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s", key)
	err = c.patchPod(ctx, p, v1.PodCondition{
		Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "DeletionByTaintManager",
		Message: "Taint manager: deleting due to NoExecute taint", LastTransitionTime: metav1.NewTime(c.now()),
	})
	if err != nil {
		return err
	}
	err = c.kit.Client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("evict pod %s from node %s: %w", key, n.Name, err)
	}
	return nil
}

// since returns since when a taint is on a node.
func (c *Controller) since(node string, t v1.Taint) time.Time {
	if t.TimeAdded != nil {
		return t.TimeAdded.Time
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := node + "/" + t.Key
	at, known := c.tainted[key]
	if !known {
		at = c.now()
		c.tainted[key] = at
	}
	return at
}
