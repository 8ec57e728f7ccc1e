package kubeapi

import (
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/gotypes"
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

// GoType returns a new object of the Go type of a Kubernetes kind or list kind, for
// decoding and encoding protobuf. Types that every group shares (Status, DeleteOptions,
// WatchEvent, …) are known under each served group and version.
func GoType(gvk runtimeschema.GroupVersionKind) (runtime.Object, bool) {
	return gotypes.New(gvk)
}
