package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tidwall/gjson"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Node is what scheduling knows of a node.
type Node struct {
	metav1.ObjectMeta
	Unschedulable bool
	Taints        []v1.Taint
	Allocatable   Resources
	// AllowedPods is the allocatable number of pods.
	AllowedPods int64
}

var _ runtime.Object = (*Node)(nil)

// GetObjectKind satisfies runtime.Object; the kind is not kept.
func (n *Node) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns n itself: objects of this package are not changed once decoded.
func (n *Node) DeepCopyObject() runtime.Object { return n }

// AsNode returns the name and labels as node-affinity libraries want them.
func (n *Node) AsNode() *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}}
}

// Same reports whether scheduling can't tell n from o. Heartbeats give nodes that are
// the same.
func (n *Node) Same(o *Node) bool {
	return n.Name == o.Name && n.UID == o.UID && n.Unschedulable == o.Unschedulable &&
		n.AllowedPods == o.AllowedPods && n.Allocatable.Equal(&o.Allocatable) &&
		maps.Equal(n.Labels, o.Labels) && maps.Equal(n.Annotations, o.Annotations) &&
		slices.EqualFunc(n.Taints, o.Taints, func(a, b v1.Taint) bool {
			return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect
		})
}

// DecodeNode reads a node from JSON known to be valid.
func DecodeNode(raw string) (*Node, error) {
	n := &Node{}
	root := gjson.Parse(raw)
	decodeMeta(root.Get("metadata"), &n.ObjectMeta)
	n.Annotations = stringMap(root.Get("metadata.annotations"))
	spec := root.Get("spec")
	n.Unschedulable = spec.Get("unschedulable").Bool()
	if taints := spec.Get("taints"); taints.Exists() {
		if err := json.Unmarshal([]byte(taints.Raw), &n.Taints); err != nil {
			return nil, fmt.Errorf("node %s: spec.taints: %w", n.Name, err)
		}
	}
	var err error
	root.Get("status.allocatable").ForEach(func(k, v gjson.Result) bool {
		name := v1.ResourceName(intern(k.Str))
		if name == v1.ResourcePods {
			var r Resources
			if err = r.Set("count", v.String()); err == nil {
				n.AllowedPods = r.Scalar["count"]
			}
		} else {
			err = n.Allocatable.Set(name, v.String())
		}
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: status.allocatable: %w", n.Name, err)
	}
	return n, nil
}
