package plugins

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// SystemNamespace is where this control plane's own parts keep their objects.
const SystemNamespace = "pintle-system"

// PluginRole begins the names of the RBAC objects by which plugins have their permissions.
const PluginRole = "pintle:plugin:"

// Exempt reports whether no plugin is asked about a request, whatever its rules say: what the
// cluster, and who looks after it, need to get rid of a plugin that refuses everything or never
// answers. That is the Plugin objects, the RBAC objects that hosts write for plugins, leases (by
// which nodes and leaders show that they are alive), what configures the other sorts of
// admission, and the namespaces kube-system and pintle-system with all that is in them.
func Exempt(r *admission.Request) bool {
	switch match.Namespace(r) {
	case metav1.NamespaceSystem, SystemNamespace:
		return true
	}
	switch r.Resource.Group {
	case "core.pintle.dev":
		return r.Resource.Resource == "plugins"
	case "coordination.k8s.io":
		return r.Resource.Resource == "leases"
	case "rbac.authorization.k8s.io":
		return strings.HasPrefix(nameOf(r), PluginRole)
	}
	return match.Exempt(r)
}

// nameOf is the name of the object, which a new one has only in itself.
func nameOf(r *admission.Request) string {
	if r.Name != "" {
		return r.Name
	}
	meta, _ := r.Object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return name
}
