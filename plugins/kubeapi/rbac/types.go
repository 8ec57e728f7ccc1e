package rbac

import (
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const group = "rbac.authorization.k8s.io"

// Types returns the types of the group. admission is called for each write of any of
// them; nil calls nothing.
func Types(admission resource.Preparer) []define.Type {
	kind := func(kind, plural string, hooks hook.Kind, options ...define.Option) define.Type {
		if admission != nil {
			hooks.OnPrepare = admission.Prepare
		}
		return define.Type{Definition: define.Kind(group, "v1", kind, plural, append(options, define.CreateOnUpdate)...), Hooks: hooks}
	}
	role := define.Columns("Created At:date")
	binding := define.Columns("Role", "Age", "Users/1", "Groups/1", "ServiceAccounts/1")
	return []define.Type{
		kind("Role", "roles", hook.Kind{OnValidate: validateRole, OnPrint: printRole}, role),
		kind("ClusterRole", "clusterroles", hook.Kind{OnValidate: validateClusterRole, OnPrint: printRole}, define.Cluster, role),
		kind("RoleBinding", "rolebindings", hook.Kind{
			OnDefault: defaultSubjects, OnValidate: validateRoleBinding, OnPrint: printBinding,
		}, binding),
		kind("ClusterRoleBinding", "clusterrolebindings", hook.Kind{
			OnDefault: defaultSubjects, OnValidate: validateClusterRoleBinding, OnPrint: printBinding,
		}, define.Cluster, binding),
	}
}
