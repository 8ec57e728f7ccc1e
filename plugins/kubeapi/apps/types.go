package apps

import (
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
)

const group = "apps"

// Types returns the types of the group.
func Types() []define.Type {
	kind := func(kind, plural string, hooks any, options ...define.Option) define.Type {
		return define.Type{Definition: define.Kind(group, "v1", kind, plural, options...), Hooks: hooks}
	}
	return []define.Type{
		kind("Deployment", "deployments", hook.Kind{
			OnDefault: defaultDeployment, OnPrepare: hook.DropStatus, OnValidate: validateDeployment, OnPrint: printDeployment,
		}, define.Short("deploy"), define.All, define.Status, define.Scale,
			define.Generation(crd.GenerationAnnotations), define.Columns("Ready", "Up-to-date", "Available", "Age", "Containers/1", "Images/1", "Selector/1")),
		kind("ReplicaSet", "replicasets", hook.Kind{
			OnDefault: defaultTemplate, OnPrepare: hook.ZeroReplicas, OnValidate: validateReplicaSet, OnPrint: printReplicaSet,
		}, define.Short("rs"), define.All, define.Status, define.Scale, define.Selectable(".status.replicas"),
			define.Columns("Desired:integer", "Current:integer", "Ready:integer", "Age", "Containers/1", "Images/1", "Selector/1")),
		kind("StatefulSet", "statefulsets", hook.Kind{
			OnDefault: defaultStatefulSet, OnPrepare: prepareStatefulSet, OnValidate: validateStatefulSet, OnPrint: printStatefulSet,
		}, define.Short("sts"), define.All, define.Status, define.Scale,
			define.Columns("Ready", "Age", "Containers/1", "Images/1")),
		kind("DaemonSet", "daemonsets", hook.Kind{
			OnDefault: defaultDaemonSet, OnPrepare: prepareDaemonSet, OnValidate: validateDaemonSet, OnPrint: printDaemonSet,
		}, define.Short("ds"), define.All, define.Status,
			define.Columns("Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer", "Available:integer",
				"Node Selector", "Age", "Containers/1", "Images/1", "Selector/1")),
		kind("ControllerRevision", "controllerrevisions", hook.Kind{
			OnValidate: validateRevision, OnPrint: printRevision,
		}, define.Columns("Controller", "Revision", "Age")),
	}
}
