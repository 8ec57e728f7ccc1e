package schemas

import (
	"fmt"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/schema"
)

// ForKind returns the schema of a kind: a $ref to its component, with Root set.
func ForKind(gvk runtimeschema.GroupVersionKind) (*schema.Schema, error) {
	return nil, fmt.Errorf("no schema for %s", gvk)
}

// Describe returns a copy of a component with its descriptions.
func Describe(_ string, s *schema.Schema) *schema.Schema { return s }
