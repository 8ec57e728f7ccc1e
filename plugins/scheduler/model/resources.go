package model

import (
	"fmt"
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What a pod without requests is taken to use when nodes are compared, so that such pods
// spread as well. They count nothing when nodes are filtered.
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 << 20
)

// Resources is an amount of each resource: of a node or asked for by a pod.
type Resources struct {
	MilliCPU         int64
	Memory           int64 // bytes
	EphemeralStorage int64 // bytes
	// Scalar holds extended resources and huge pages; nil where there are none. It is
	// shared between copies until Add or Sub change it.
	Scalar map[v1.ResourceName]int64
}

// Set sets one resource from the text of a quantity.
func (r *Resources) Set(name v1.ResourceName, text string) error {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return fmt.Errorf("quantity %q of %s: %w", text, name, err)
	}
	r.setQuantity(name, q)
	return nil
}

func (r *Resources) setQuantity(name v1.ResourceName, q resource.Quantity) {
	switch name {
	case v1.ResourceCPU:
		r.MilliCPU = q.MilliValue()
	case v1.ResourceMemory:
		r.Memory = q.Value()
	case v1.ResourceEphemeralStorage:
		r.EphemeralStorage = q.Value()
	case v1.ResourcePods:
		// Counted apart: each pod is one.
	default:
		if r.Scalar == nil {
			r.Scalar = map[v1.ResourceName]int64{}
		}
		r.Scalar[name] = q.Value()
	}
}

// FromList converts a resource list.
func FromList(list v1.ResourceList) Resources {
	var r Resources
	for name, q := range list {
		r.setQuantity(name, q)
	}
	return r
}

// List converts to a resource list; pods are how many pods.
func (r *Resources) List(pods int64) v1.ResourceList {
	out := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewMilliQuantity(r.MilliCPU, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(r.Memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(r.EphemeralStorage, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(pods, resource.DecimalSI),
	}
	for name, n := range r.Scalar {
		out[name] = *resource.NewQuantity(n, resource.DecimalSI)
	}
	return out
}

// Add adds o.
func (r *Resources) Add(o *Resources) { r.change(o, 1) }

// Sub takes o away.
func (r *Resources) Sub(o *Resources) { r.change(o, -1) }

func (r *Resources) change(o *Resources, sign int64) {
	r.MilliCPU += sign * o.MilliCPU
	r.Memory += sign * o.Memory
	r.EphemeralStorage += sign * o.EphemeralStorage
	if len(o.Scalar) == 0 {
		return
	}
	if r.Scalar = maps.Clone(r.Scalar); r.Scalar == nil {
		r.Scalar = make(map[v1.ResourceName]int64, len(o.Scalar))
	}
	for name, n := range o.Scalar {
		if r.Scalar[name] += sign * n; r.Scalar[name] == 0 {
			delete(r.Scalar, name)
		}
	}
}

// IsZero reports whether nothing is asked for.
func (r *Resources) IsZero() bool {
	return r.MilliCPU == 0 && r.Memory == 0 && r.EphemeralStorage == 0 && len(r.Scalar) == 0
}

// Equal reports whether the amounts are the same.
func (r *Resources) Equal(o *Resources) bool {
	return r.MilliCPU == o.MilliCPU && r.Memory == o.Memory &&
		r.EphemeralStorage == o.EphemeralStorage && maps.Equal(r.Scalar, o.Scalar)
}

// Load is the CPU and memory by which nodes are compared.
type Load struct {
	MilliCPU, Memory int64
}

// LoadOf returns the load of a pod with these requests.
func LoadOf(r *Resources) Load {
	l := Load{MilliCPU: r.MilliCPU, Memory: r.Memory}
	if l.MilliCPU == 0 {
		l.MilliCPU = defaultMilliCPU
	}
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	return l
}
