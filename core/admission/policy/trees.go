package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured/unstructuredscheme"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	upstream "k8s.io/apiserver/pkg/admission"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// converter makes typed values of trees for the merge of apply configurations.
type converter struct{ typed.ParseableType }

var _ managedfields.TypeConverter = converter{}

// ObjectToTyped implements managedfields.TypeConverter.
func (c converter) ObjectToTyped(object runtime.Object, options ...typed.ValidationOptions) (*typed.TypedValue, error) {
	tree, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a %T is no tree", object)
	}
	return c.FromUnstructured(tree.Object, options...) //nolint:wrapcheck // upstream's messages are those of this error
}

// TypedToObject implements managedfields.TypeConverter.
func (c converter) TypedToObject(value *typed.TypedValue) (runtime.Object, error) {
	tree, ok := value.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a merged object is a %T", value.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: tree}, nil
}

// trees tells upstream's patchers that objects are trees.
type trees struct{}

var _ upstream.ObjectInterfaces = trees{}

// GetObjectCreater implements upstream.ObjectInterfaces.
func (trees) GetObjectCreater() runtime.ObjectCreater {
	return unstructuredscheme.NewUnstructuredCreator()
}

// GetObjectTyper implements upstream.ObjectInterfaces.
func (trees) GetObjectTyper() runtime.ObjectTyper {
	return unstructuredscheme.NewUnstructuredObjectTyper()
}

// GetObjectDefaulter implements upstream.ObjectInterfaces.
func (trees) GetObjectDefaulter() runtime.ObjectDefaulter {
	return defaulter{}
}

// defaulter does nothing: defaults are set where the schema is known.
type defaulter struct{}

// Default implements runtime.ObjectDefaulter.
func (defaulter) Default(runtime.Object) {}

// GetObjectConvertor implements upstream.ObjectInterfaces. Patchers convert nothing.
func (trees) GetObjectConvertor() runtime.ObjectConvertor { return nil }

// GetEquivalentResourceMapper implements upstream.ObjectInterfaces.
func (trees) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper {
	return runtime.NewEquivalentResourceRegistry()
}
