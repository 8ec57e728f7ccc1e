package managedfields

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

// Apply merges an applied configuration into an object (server-side apply). live is nil
// where there is none; its managedFields are given apart. It returns a new tree without
// managedFields, and these. Conflicts are a 409 *errors.StatusError that names managers
// and fields.
func (t *Type) Apply(gvk schema.GroupVersionKind, live map[string]any, liveManaged []byte, config map[string]any, w Writer, force bool) (map[string]any, []byte, error) {
	c := converter{typed: t.typed, gvk: gvk, blank: t.blank}
	reset := map[fieldpath.APIVersion]fieldpath.Filter{}
	switch {
	case t.status && w.Subresource == "":
		reset[fieldpath.APIVersion(w.APIVersion)] = fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
	case w.Subresource == "status":
		reset[fieldpath.APIVersion(w.APIVersion)] = fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("spec")))
	}
	m, err := upstream.NewDefaultCRDFieldManager(c, c, c, c, gvk, gvk.GroupVersion(), w.Subresource, reset)
	if err != nil {
		return nil, nil, fmt.Errorf("server-side apply: %w", err)
	}
	liveObj := &unstructured.Unstructured{}
	if live == nil {
		liveObj.Object = jsontree.CopyMap(t.blank)
		liveObj.SetGroupVersionKind(gvk)
	} else {
		liveObj.Object = jsontree.CopyMap(live)
		if err := setManaged(liveObj, liveManaged); err != nil {
			return nil, nil, err
		}
	}
	out, err := m.Apply(liveObj, &unstructured.Unstructured{Object: config}, w.Manager, force)
	if err != nil {
		return nil, nil, err
	}
	u, ok := out.(*unstructured.Unstructured)
	if !ok {
		return nil, nil, fmt.Errorf("server-side apply gave a %T", out)
	}
	managed := encode(fromAPI(u.GetManagedFields()))
	u.SetManagedFields(nil)
	if live == nil {
		dropNulls(u.Object)
	}
	return u.Object, managed, nil
}

// dropNulls removes what the blank object of a built-in type has only for its Go type.
func dropNulls(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, k)
		case map[string]any:
			dropNulls(v)
		}
	}
}

func setManaged(u *unstructured.Unstructured, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	v, err := jsontree.DecodeValue(data)
	if err != nil {
		return fmt.Errorf("metadata.managedFields: %w", err)
	}
	meta, _ := u.Object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		u.Object["metadata"] = meta
	}
	meta["managedFields"] = v
	return nil
}

// converter lets upstream's field manager work on trees. Versions of a type differ by
// their apiVersion alone.
type converter struct {
	typed typed.ParseableType
	gvk   schema.GroupVersionKind
	blank map[string]any
}

var (
	_ upstream.TypeConverter  = converter{}
	_ runtime.ObjectConvertor = converter{}
	_ runtime.ObjectDefaulter = converter{}
	_ runtime.ObjectCreater   = converter{}
)

// ObjectToTyped implements upstream.TypeConverter.
func (c converter) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("unexpected %T", o)
	}
	return c.typed.FromUnstructured(u.Object, opts...)
}

// TypedToObject implements upstream.TypeConverter.
func (c converter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	m, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the merged value is no object")
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// Convert implements runtime.ObjectConvertor.
func (c converter) Convert(in, out, _ any) error {
	src, ok := in.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("unexpected %T", in)
	}
	dst, ok := out.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("unexpected %T", out)
	}
	dst.Object = src.Object
	return nil
}

// ConvertToVersion implements runtime.ObjectConvertor.
func (c converter) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("unexpected %T", in)
	}
	have := u.GroupVersionKind()
	want, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{have, c.gvk})
	if !ok {
		return nil, fmt.Errorf("no version of %s for %s", have, gv)
	}
	if want == have {
		return u, nil
	}
	top := make(map[string]any, len(u.Object))
	for k, v := range u.Object {
		top[k] = v
	}
	r := &unstructured.Unstructured{Object: top}
	r.SetGroupVersionKind(want)
	return r, nil
}

// ConvertFieldLabel implements runtime.ObjectConvertor.
func (c converter) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// Default implements runtime.ObjectDefaulter; defaults are set later on the request's way.
func (c converter) Default(runtime.Object) {}

// New implements runtime.ObjectCreater.
func (c converter) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: jsontree.CopyMap(c.blank)}
	u.SetGroupVersionKind(gvk)
	return u, nil
}
