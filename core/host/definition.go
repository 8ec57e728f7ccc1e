package host

import (
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

// Names of the Plugin type, and labels of its objects.
const (
	Group   = "core.pintle.dev"
	Version = "v1"
	Kind    = "Plugin"

	// labelPlugin is the plugin's name; a node-scoped plugin has an object on each node.
	labelPlugin = Group + "/plugin"
	// labelHost says which host keeps the object: "server" or "node.NAME"
	// (hashed where NAME is long).
	labelHost = Group + "/host"
)

// Resource is the Plugin type's.
func Resource() runtimeschema.GroupVersionResource {
	return runtimeschema.GroupVersionResource{Group: Group, Version: Version, Resource: "plugins"}
}

// ObjectName is the name of a plugin's Plugin object. node is empty but for node-scoped
// plugins.
func ObjectName(plugin, node string) string {
	if node == "" {
		return plugin
	}
	return plugin + "." + node
}

// Definitions are the types that the host itself brings: Plugin.
func Definitions() []*crd.Definition {
	return []*crd.Definition{{
		Group: Group,
		Scope: crd.ClusterScoped,
		Names: crd.Names{
			Plural: "plugins", Singular: "plugin", Kind: Kind, ListKind: "PluginList",
		},
		Source: "builtin",
		Versions: []crd.Version{{
			Name: Version, Served: true, Storage: true, Status: true,
			Schema:       func() (*schema.Schema, error) { return pluginSchema(), nil },
			Subresources: []crd.Subresource{{Name: "log", Kind: Kind, Verbs: []string{"get"}, Connect: true}},
			Columns: []crd.Column{
				{Name: "Version", Type: "string", JSONPath: ".status.version", Description: "Version of the plugin"},
				{Name: "Placement", Type: "string", JSONPath: ".spec.placement", Description: "Where its code runs"},
				{Name: "PID", Type: "integer", Priority: 1, JSONPath: ".status.pid", Description: "Its process"},
				{Name: "Health", Type: "string", JSONPath: ".status.health", Description: "How it is"},
				{Name: "Restarts", Type: "integer", JSONPath: ".status.restarts", Description: "Starts after the first"},
				{Name: "Reason", Type: "string", JSONPath: ".status.reason", Description: "Why it is not healthy"},
				{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp", Description: "Since when it is in the catalogue"},
			},
		}},
	}}
}

func text(description string) *schema.Schema {
	return &schema.Schema{Type: "string", Description: description}
}

func moment(description string) *schema.Schema {
	return &schema.Schema{Type: "string", Format: "date-time", Description: description}
}

func integer(description string) *schema.Schema {
	return &schema.Schema{Type: "integer", Format: "int64", Description: description}
}

func boolean(description string) *schema.Schema {
	return &schema.Schema{Type: "boolean", Description: description}
}

func texts(description string) *schema.Schema {
	return &schema.Schema{Type: "array", Description: description, Items: &schema.Schema{Type: "string"}, ListType: "atomic"}
}

func rules(description string) *schema.Schema {
	return &schema.Schema{
		Type: "array", Description: description, ListType: "atomic",
		Items: &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{
			"verbs":           texts("Verbs that are allowed."),
			"apiGroups":       texts("API groups of the resources."),
			"resources":       texts("Resources the rule applies to."),
			"resourceNames":   texts("Names the rule is limited to."),
			"nonResourceURLs": texts("URL paths the rule applies to."),
		}},
	}
}

func pluginSchema() *schema.Schema {
	return &schema.Schema{
		Type:        "object",
		Description: "Plugin is a plugin in the catalogue. Objects that somebody applies are wishes, which the hosts carry out. Those of the configuration, and those that say how a plugin is on a node, are kept by hosts: of their spec only restartedAt is for others to set.",
		Properties: map[string]*schema.Schema{
			"spec": specSchema(),
			"status": {Type: "object", Description: "What the host sees.", Properties: map[string]*schema.Schema{
				"version":         text("Version of the plugin."),
				"description":     text("What the plugin is for."),
				"extensionPoints": texts("Extension points that it implements."),
				"pid":             integer("Its process, where it has one."),
				"userID":          integer("User that its process runs as."),
				"confined":        texts("Measures that keep its process from doing harm."),
				"notConfined":     texts("Measures that its machine does not allow, and why."),
				"health":          text("Pending, Starting, Standby, Healthy, Unhealthy, BackOff, Refused, Stopped or Disabled."),
				"reason":          text("Why it is not healthy."),
				"restarts":        integer("Starts after the first, since the host started."),
				"circuit":         text("Closed, Open after too many failures in a row, or HalfOpen during a trial."),
				"startedAt":       moment("Start of the process."),
				"nextStart":       moment("When a plugin in back-off is started again."),
				"logFile":         text("File on the host that holds its output."),
				"lastOutput":      texts("Last lines before it last ended."),
				"panic":           text("Text of the panic of which it last died."),
				"lastReason":      text("Why it last ended."),
				"lastExit": {Type: "object", Description: "How its last process ended.", Properties: map[string]*schema.Schema{
					"at":     moment("When."),
					"code":   integer("Exit status; -1 where a signal ended it."),
					"signal": text("The signal that ended it."),
				}},
				"requestedPermissions": rules("Permissions that the plugin asks for."),
				"grantedPermissions":   rules("Permissions that it was granted."),
				"pendingPermissions":   rules("Permissions that it asks for and nobody has granted."),
				"uses":                 texts("Points of other plugins that it may call."),
				"pendingUses":          texts("Points of other plugins that it asks to call, and nobody has granted."),
				"requires": {Type: "array", Description: "Plugins that have to run before it.", ListType: "atomic", Items: object("A plugin that is required.", map[string]*schema.Schema{
					"plugin":  text("Its name."),
					"version": text("Constraint on its version; any where empty."),
				})},
				"pendingMachine":     texts("Files and privileges that it asks for and nobody has granted."),
				"sha256":             text("Checksum of the binary that runs."),
				"digest":             text("Digest of the artifact that the binary came in."),
				"signedBy":           text("Key that signed it."),
				"types":              texts("Resource types that are its, as PLURAL.GROUP."),
				"observedGeneration": integer("Generation of the spec that is carried out."),
				"calls":              integer("Calls to it, since the host started."),
				"errors":             integer("Calls that failed."),
				"memoryBytes":        integer("Memory of its processes."),
				"cpuMilliseconds":    integer("CPU time that its processes have used, since the host started."),
				"conditions":         conditionsSchema(),
				"history":            historySchema(),
			}},
		},
	}
}
