package scheduling

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// maxNodes bounds the numbers of nodes on a stream.
const maxNodes = 1 << 20

// view is what one stream has told of nodes. A Node is never changed once it was handed out:
// another takes its place.
type view struct {
	nodes []*Node // by number
}

func (v *view) node(number uint32) *Node {
	if int(number) >= len(v.nodes) {
		return nil
	}
	return v.nodes[number]
}

func (v *view) update(r *pluginv1.SchedulingEvaluateRequest) error {
	for _, number := range r.GetRemoved() {
		if int(number) < len(v.nodes) {
			v.nodes[number] = nil
		}
	}
	for _, w := range r.GetNodes() {
		if w.GetNumber() >= maxNodes {
			return fmt.Errorf("node %s has number %d: less than %d are possible", w.GetName(), w.GetNumber(), maxNodes)
		}
		n, err := nodeFromWire(w)
		if err != nil {
			return err
		}
		for len(v.nodes) <= int(w.GetNumber()) {
			v.nodes = append(v.nodes, nil)
		}
		if old := v.nodes[w.GetNumber()]; old != nil && old.Name == n.Name {
			n.Usage = old.Usage
		}
		v.nodes[w.GetNumber()] = n
	}
	for _, u := range r.GetUsage() {
		old := v.node(u.GetNumber())
		if old == nil {
			return fmt.Errorf("usage of node number %d, which was never told", u.GetNumber())
		}
		requested, err := resourcesFromWire(u.GetRequested())
		if err != nil {
			return fmt.Errorf("usage of node %s: %w", old.Name, err)
		}
		n := *old
		n.Usage = &Usage{Pods: int(u.GetPods()), Requested: requested}
		v.nodes[u.GetNumber()] = &n
	}
	return nil
}

func nodeFromWire(w *pluginv1.SchedulingNode) (*Node, error) {
	n := &Node{
		Name: w.GetName(), UID: types.UID(w.GetUid()), Labels: w.GetLabels(), Annotations: w.GetAnnotations(),
		Unschedulable: w.GetUnschedulable(),
	}
	for _, t := range w.GetTaints() {
		n.Taints = append(n.Taints, v1.Taint{Key: t.GetKey(), Value: t.GetValue(), Effect: v1.TaintEffect(t.GetEffect())})
	}
	var err error
	if n.Allocatable, err = resourcesFromWire(w.GetAllocatable()); err != nil {
		return nil, fmt.Errorf("node %s: %w", n.Name, err)
	}
	return n, nil
}

func resourcesFromWire(m map[string]string) (v1.ResourceList, error) {
	out := make(v1.ResourceList, len(m))
	for name, text := range m {
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("quantity %q of %s: %w", text, name, err)
		}
		out[v1.ResourceName(name)] = q
	}
	return out, nil
}
