package conversion

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Hook converts the objects of a type by a hook of its own.
type Hook struct{ convert resource.ConvertFunc }

// ByHook returns the converter of a type that has such a hook.
func ByHook(convert resource.ConvertFunc) *Hook { return &Hook{convert} }

// Convert converts objects, those that are not in the version already. A hook is held to what a
// webhook is held to: it may change no more of the metadata than labels and annotations.
func (h *Hook) Convert(ctx context.Context, objects []map[string]any, to schema.GroupVersionKind) ([]map[string]any, error) {
	out := make([]map[string]any, len(objects))
	var at []int
	var copies []map[string]any
	for i, o := range objects {
		if o["apiVersion"] == to.GroupVersion().String() {
			out[i] = o
			continue
		}
		at, copies = append(at, i), append(copies, runtime.DeepCopyJSON(o))
	}
	if len(at) == 0 {
		return out, nil
	}
	if err := h.convert(ctx, copies, to.Version); err != nil {
		return nil, err
	}
	for n, i := range at {
		tree, err := acceptTree(objects[i], copies[n], to)
		if err != nil {
			from := schema.FromAPIVersionAndKind(text(objects[i], "apiVersion"), text(objects[i], "kind"))
			return nil, fmt.Errorf("conversion hook for %v returned %s: %w", from, invalid(err, n, len(objects) == 1), err)
		}
		out[i] = tree
	}
	return out, nil
}
