package kubeapi

import (
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/schemas"
)

// Schema returns the schema of a Kubernetes kind, or an error where it has none. It is a
// $ref to a component of upstream's name (io.k8s.api.core.v1.Pod) with Root set.
func Schema(gvk runtimeschema.GroupVersionKind) (*schema.Schema, error) {
	return schemas.ForKind(gvk)
}

// Describe returns a copy of a component's schema with its descriptions filled in. The
// texts are read for the call and not kept. Unknown components come back unchanged.
func Describe(component string, s *schema.Schema) *schema.Schema {
	return schemas.Describe(component, s)
}
