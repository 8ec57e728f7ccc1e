package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
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
