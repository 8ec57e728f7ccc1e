package host

import (
	"encoding/json"

	"github.com/pintle-dev/pintle/crd/schema"
)

func enum(description string, values ...string) *schema.Schema {
	s := text(description)
	for _, v := range values {
		raw, _ := json.Marshal(v) // a string is always JSON
		s.Enum = append(s.Enum, raw)
	}
	return s
}

func object(description string, properties map[string]*schema.Schema) *schema.Schema {
	return &schema.Schema{Type: "object", Description: description, Properties: properties}
}

func quantity(description string) *schema.Schema {
	return &schema.Schema{IntOrString: true, Description: description}
}

// specSchema describes [PluginSpec]. Fields that it does not name get as far as the hooks,
// which refuse them.
func specSchema() *schema.Schema {
	s := object("What is wished for, or what the configuration says.", map[string]*schema.Schema{
		"plugin": text("Name of the plugin; that of the object where empty."),
		"source": object("Where the plugin comes from; exactly one field is set. Without a source it is one of the host's own.", map[string]*schema.Schema{
			"path":      text("Absolute path of a binary on the host's machine; needs sha256."),
			"directory": text("Absolute path of a directory on the host's machine, with plugin.yaml and binary."),
			"oci":       text("Reference to an OCI artifact, such as registry.example.com/plugins/widget:1.2.0."),
		}),
		"version":       text("Constraint on the version, such as \">=1.2, <2\"."),
		"sha256":        text("Checksum that the binary must have."),
		"allowUnsigned": boolean("Accept a plugin without a signature."),
		"placement":     enum("process (the default) or builtin.", "process", "builtin", "served"),
		"nodeScoped":    boolean("The plugin runs on each node, and not beside the server."),
		"node":          text("Node on which a node-scoped plugin runs; set by its host."),
		"args":          texts("Arguments of the binary."),
		"env":           {Type: "object", Description: "Environment of the plugin; nothing is inherited.", AdditionalProperties: text("Value.")},
		"settings":      {Type: "object", Description: "The plugin's own settings, checked against its schema.", PreserveUnknownFields: true},
		"settingsFrom": {Type: "array", Description: "Sources of settings that not everybody may read, merged over settings in this order.", ListType: "atomic", Items: object("One source.", map[string]*schema.Schema{
			"secretRef": object("Key of a Secret, which holds an object in YAML or JSON. Who names it must be allowed to read it; the plugin need not be.", map[string]*schema.Schema{
				"namespace": text("Namespace of the Secret."),
				"name":      text("Name of the Secret."),
				"key":       text("Key in its data."),
			}),
		})},
		"permissions": object("What it is granted of the permissions that it asks for.", map[string]*schema.Schema{
			"grant": enum("Requested grants all that it asks for; Listed, the default, what rules cover.", GrantRequested, GrantListed),
			"rules": rules("Permissions that are granted where the plugin asks for them."),
			"uses":  texts("Points of other plugins that it may call, such as cloud, where it asks for them."),
		}),
		"limits": object("Limits of all its processes together.", map[string]*schema.Schema{
			"memory":    quantity("Memory, such as 64Mi."),
			"cpu":       quantity("CPU in cores, such as 500m."),
			"processes": integer("Processes and threads."),
			"disk":      quantity("What it may keep in its private directory, such as 1Gi."),
		}),
		"network": boolean("The plugin may reach the machine's network."),
		"files": {
			Type: "array", Description: "Files, directories and sockets of the machine that it is given.", ListType: "map", ListMapKeys: []string{"path"},
			Items: &schema.Schema{Type: "object", Required: []string{"path"}, Properties: map[string]*schema.Schema{
				"path":     text("Absolute path, the same for the machine and the plugin."),
				"readOnly": boolean("It may not be written to; true where it is not set."),
			}},
		},
		"privileges": texts("What it may beyond other plugins, such as SYS_ADMIN or MountPropagation."),
		"replacement": object("How a new version, or new settings, take the place of what runs.", map[string]*schema.Schema{
			"strategy":    enum("HandOver (the default) starts the new beside the old and hands over; Restart checks it beside the old, and stops that before it starts.", string(HandOver), string(RestartFirst)),
			"watchPeriod": text("How long the new has to work before what ran before is given up, such as 1m."),
		}),
		"admission": object("Overrides what an admission plugin declares of itself.", map[string]*schema.Schema{
			"failurePolicy":    enum("What becomes of a request where the plugin does not answer.", "Fail", "Ignore"),
			"timeoutSeconds":   integer("Time that one call may take."),
			"exemptNamespaces": texts("Namespaces about which it is not asked."),
		}),
		"disabled":    boolean("The plugin is not run."),
		"restartedAt": moment("Setting it to another time restarts the plugin."),
	})
	s.PreserveUnknownFields = true
	return s
}

func conditionsSchema() *schema.Schema {
	return &schema.Schema{
		Type: "array", Description: "What is true of the plugin: Ready, Granted, Upgraded.", ListType: "map", ListMapKeys: []string{"type"},
		Items: &schema.Schema{Type: "object", Required: []string{"type", "status"}, Properties: map[string]*schema.Schema{
			"type":               text("Ready, Granted, Upgraded or SettingsResolved."),
			"status":             text("True or False."),
			"reason":             text("Why, in one word."),
			"message":            text("Why, in words for people."),
			"lastTransitionTime": moment("Since when."),
		}},
	}
}

func historySchema() *schema.Schema {
	return &schema.Schema{
		Type: "array", Description: "Revisions of the plugin, the oldest first.", ListType: "atomic",
		Items: object("What was tried, and what became of it.", map[string]*schema.Schema{
			"revision": integer("Number of the revision."),
			"version":  text("Version of the plugin."),
			"source":   text("Where it came from."),
			"sha256":   text("Checksum of its binary."),
			"digest":   text("Digest of its artifact."),
			"state":    text("Serving, Replaced, Refused or RolledBack."),
			"reason":   text("Why it was refused or rolled back."),
			"settings": text("Version of the Secrets that its settings came from."),
			"at":       moment("When it got into its state."),
			"spec":     {Type: "object", Description: "Spec of the object then, to go back to.", PreserveUnknownFields: true},
		}),
	}
}
