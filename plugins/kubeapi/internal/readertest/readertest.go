// Package readertest holds objects for the tests of hooks that read others.
package readertest

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Objects is a resource.Reader over lists. It does not tell namespaces apart.
type Objects map[schema.GroupResource][]map[string]any

// Get implements resource.Reader.
func (o Objects) Get(_ context.Context, gr schema.GroupResource, _, name string) (map[string]any, error) {
	for _, v := range o[gr] {
		if tree.Str(tree.Map(v, "metadata"), "name") == name {
			return v, nil
		}
	}
	return nil, nil
}

// List implements resource.Reader.
func (o Objects) List(_ context.Context, gr schema.GroupResource, _ string) ([]map[string]any, error) {
	return o[gr], nil
}
