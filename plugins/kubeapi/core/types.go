package core

import (
	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/events"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Options are the settings of the group.
type Options struct {
	// ServiceCIDRs are the ranges of cluster IPs, the primary one first.
	ServiceCIDRs []string
	// Shared says that other servers give out node ports too.
	Shared bool
	// NodePortMin and NodePortMax bound node ports, both included.
	NodePortMin, NodePortMax int
	// Tokens answers creates of serviceaccounts/token; nil answers none.
	Tokens resource.Subresourcer
	// Writer keeps accounts in the status of other objects; nil keeps none.
	Writer resource.Writer
	// Creator makes the IPAddress objects of services; nil makes none, and the addresses of
	// services are not unique.
	Creator resource.Creator
	// Admission changes pods when they are written; nil does what its defaults do.
	Admission *admission.Plugins
}

// Types returns the types of the group. An error names the setting that is wrong.
func Types(o Options) ([]define.Type, error) {
	services, err := newServices(o)
	if err != nil {
		return nil, err
	}
	kind := func(kind, plural string, options ...define.Option) define.Type {
		return define.Type{Definition: define.Kind("", "v1", kind, plural, options...)}
	}
	with := func(t define.Type, hooks any) define.Type {
		t.Hooks = hooks
		return t
	}
	return []define.Type{
		with(kind("Pod", "pods", define.Short("po"), define.All, define.Status,
			define.Sub("binding", "Binding", "create"),
			define.SubOf("eviction", "policy", "v1", "Eviction", "create"),
			define.Sub("ephemeralcontainers", "Pod", "get", "patch", "update"),
			define.Sub("resize", "Pod", "get", "patch", "update"),
			define.Connect("log", "Pod", "get"),
			define.Connect("exec", "PodExecOptions", "create", "get"),
			define.Connect("attach", "PodAttachOptions", "create", "get"),
			define.Connect("portforward", "PodPortForwardOptions", "create", "get"),
			define.Connect("proxy", "PodProxyOptions", "create", "delete", "get", "patch", "update"),
			define.Selectable(".spec.nodeName", ".spec.restartPolicy", ".spec.schedulerName",
				".spec.serviceAccountName", ".spec.hostNetwork", ".status.phase", ".status.podIP",
				".status.nominatedNodeName"),
			define.ReturnDeleted, define.Columns("Ready", "Status", "Restarts", "Age", "IP/1", "Node/1", "Nominated Node/1", "Readiness Gates/1"),
		), Pods{Writer: o.Writer, Admission: o.Admission}),
		with(kind("Namespace", "namespaces", define.Short("ns"), define.Cluster, define.Status,
			define.Verbs("create", "delete", "get", "list", "patch", "update", "watch"),
			define.Sub("finalize", "Namespace", "update"),
			define.Selectable(".status.phase"),
			define.ReturnDeleted, define.Uncounted, define.Columns("Status", "Age"),
		), namespaces{hook.Kind{
			OnDefault: defaultNamespace, OnPrepare: prepareNamespace, OnValidate: validateNamespace, OnPrint: printNamespace,
		}}),
		with(kind("Node", "nodes", define.Short("no"), define.Cluster, define.Status,
			define.Connect("proxy", "NodeProxyOptions", "create", "delete", "get", "patch", "update"),
			define.Selectable(".spec.unschedulable"),
			define.Uncounted, define.Columns("Status", "Roles", "Age", "Version", "Internal-IP/1", "External-IP/1", "OS-Image/1",
				"Kernel-Version/1", "Container-Runtime/1"),
		), hook.Kind{OnDefault: defaultNode, OnValidate: validateNode, OnPrint: printNode}),
		with(kind("Service", "services", define.Short("svc"), define.All, define.Status,
			define.Connect("proxy", "ServiceProxyOptions", "create", "delete", "get", "patch", "update"),
			define.Selectable(".spec.clusterIP", ".spec.type"),
			define.CreateOnUpdate, define.ReturnDeleted, define.Uncounted, define.Columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector/1"),
		), services),
		with(kind("Endpoints", "endpoints", define.Short("ep"),
			define.CreateOnUpdate, define.Columns("Endpoints", "Age"),
			define.Deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
		), hook.Kind{OnValidate: validateEndpoints, OnPrint: printEndpoints}),
		with(kind("ConfigMap", "configmaps", define.Short("cm"), define.Columns("Data", "Age")),
			hook.Kind{OnValidate: validateConfigMap, OnPrint: printConfigMap}),
		with(kind("Secret", "secrets", define.Selectable(".type"), define.Columns("Type", "Data", "Age")),
			hook.Kind{OnDefault: defaultSecret, OnValidate: validateSecret, OnPrint: printSecret}),
		with(kind("ServiceAccount", "serviceaccounts", define.Short("sa"),
			define.SubOf("token", "authentication.k8s.io", "v1", "TokenRequest", "create"),
			define.ReturnDeleted, define.Columns("Age"),
		), accounts(o.Tokens)),
		with(kind("Event", "events", define.Short("ev"),
			define.Selectable(".involvedObject.kind", ".involvedObject.namespace", ".involvedObject.name",
				".involvedObject.uid", ".involvedObject.apiVersion", ".involvedObject.resourceVersion",
				".involvedObject.fieldPath", ".reason", ".reportingComponent", ".type"),
			define.Alias("source", ".source.component", ".reportingComponent"),
			define.CreateOnUpdate, define.Columns("Last Seen", "Type", "Reason", "Object", "Subobject/1", "Source/1", "Message", "First Seen/1", "Count/1", "Name/1"),
		), events.Hooks{Kind: hook.Kind{OnValidate: validateEvent, OnPrint: events.Print}}),
		with(kind("LimitRange", "limitranges", define.Short("limits"), define.CreateOnUpdate, define.Uncounted, define.Columns("Created At:date")),
			hook.Kind{OnDefault: defaultLimitRange, OnValidate: validateLimitRange, OnPrint: printCreated}),
		with(kind("ResourceQuota", "resourcequotas", define.Short("quota"), define.Status,
			define.ReturnDeleted, define.Uncounted, define.Columns("Request", "Limit", "Age")),
			hook.Kind{OnPrepare: hook.DropStatus, OnValidate: validateQuota, OnPrint: printQuota}),
		with(kind("PersistentVolume", "persistentvolumes", define.Short("pv"), define.Cluster, define.Status,
			define.ReturnDeleted, define.Uncounted, define.Columns("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
				"VolumeAttributesClass", "Reason", "Age", "VolumeMode/1")),
			hook.Kind{OnPrepare: preparePhase, OnValidate: validateVolume, OnPrint: printVolume}),
		with(kind("PersistentVolumeClaim", "persistentvolumeclaims", define.Short("pvc"), define.Status,
			define.ReturnDeleted, define.Uncounted, define.Columns("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age", "VolumeMode/1")),
			hook.Kind{OnPrepare: preparePhase, OnValidate: validateClaim, OnPrint: printClaim}),
		with(kind("PodTemplate", "podtemplates", define.ReturnDeleted, define.Counted, define.Columns("Containers", "Images", "Pod Labels")),
			hook.Kind{OnDefault: defaultPodTemplate, OnValidate: validatePodTemplate, OnPrint: printPodTemplate}),
		with(kind("ReplicationController", "replicationcontrollers", define.Short("rc"), define.All, define.Status, define.Scale,
			define.Selectable(".status.replicas"),
			define.Columns("Desired:integer", "Current:integer", "Ready:integer", "Age", "Containers/1", "Images/1", "Selector/1")),
			hook.Kind{OnDefault: defaultController, OnPrepare: hook.ZeroReplicas, OnValidate: validateController, OnPrint: printController}),
	}, nil
}
