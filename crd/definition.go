package crd

import (
	"github.com/pintle-dev/pintle/crd/schema"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

// Scope says whether objects of a type live in a namespace.
type Scope string

// The scopes of apiextensions.k8s.io/v1.
const (
	NamespaceScoped Scope = "Namespaced"
	ClusterScoped   Scope = "Cluster"
)

// Definition is a resource type: all versions of one group and plural name.
type Definition struct {
	Group    string    `json:"group,omitempty"`
	Names    Names     `json:"names"`
	Scope    Scope     `json:"scope"`
	Versions []Version `json:"versions"`
	// Conversion says how objects go from one version to another. Without one only
	// apiVersion changes.
	Conversion *Conversion `json:"conversion,omitempty"`
	// Virtual types are not stored: each request is answered by the resource's hooks
	// (SelfSubjectAccessReview, TokenReview, …).
	Virtual bool `json:"virtual,omitempty"`
	// PreserveUnknownFields keeps fields the schema does not name, at the root.
	PreserveUnknownFields bool `json:"preserveUnknownFields,omitempty"`
	// Bucket names the part of the store that has the objects, where it is not the
	// type's own: two groups may serve the same objects (events).
	Bucket string `json:"bucket,omitempty"`
	// AllowCreateOnUpdate lets a PUT of an object that does not exist create it.
	AllowCreateOnUpdate bool `json:"allowCreateOnUpdate,omitempty"`
	// ReturnDeletedObject answers a deletion that takes effect at once with the object
	// as it last was, instead of a Status.
	ReturnDeletedObject bool `json:"returnDeletedObject,omitempty"`
	// Generation says which changes metadata.generation counts.
	Generation Generation `json:"generation,omitempty"`
	// Terminating types are about to go: no objects of them are created any more.
	Terminating bool `json:"terminating,omitempty"`
	// Source says where the definition came from, for messages: "builtin", "crd:NAME",
	// "plugin:NAME". Types whose Source is "builtin" are decoded as upstream's Go types
	// are (see crd/schema.Options.Builtin), all others as custom resources.
	Source string `json:"source,omitempty"`
}

// Generation says which changes of an object metadata.generation counts.
type Generation string

// The rules by which generations are counted.
const (
	// GenerationDefault counts changes of all but metadata and status. Objects of a
	// builtin type that have no spec are not counted.
	GenerationDefault Generation = ""
	// GenerationNone sets no generation.
	GenerationNone Generation = "None"
	// GenerationAll is GenerationDefault also for objects without a spec.
	GenerationAll Generation = "All"
	// GenerationAnnotations and GenerationLabels are GenerationAll, and count changes of
	// annotations or labels too.
	GenerationAnnotations Generation = "Annotations"
	GenerationLabels      Generation = "Labels"
)

// Names are the names by which a type is known, as in a CustomResourceDefinition.
type Names struct {
	Plural     string   `json:"plural"`
	Singular   string   `json:"singular"`
	Kind       string   `json:"kind"`
	ListKind   string   `json:"listKind"`
	ShortNames []string `json:"shortNames,omitempty"`
	Categories []string `json:"categories,omitempty"`
}

// Version is one version of a type.
type Version struct {
	Name               string `json:"name"`
	Served             bool   `json:"served"`
	Storage            bool   `json:"storage"`
	Deprecated         bool   `json:"deprecated,omitempty"`
	DeprecationWarning string `json:"deprecationWarning,omitempty"`
	// Verbs limits what the type answers; empty means all of create, delete,
	// deletecollection, get, list, patch, update, watch.
	Verbs []string `json:"verbs,omitempty"`
	// Schema gives the structural schema. It is a function so that a schema's text is
	// parsed when it is first needed and not at start.
	Schema func() (*schema.Schema, error) `json:"-"`
	// Status serves the status subresource: a main write leaves .status alone, a status
	// write leaves all but .status and metadata.managedFields alone.
	Status bool `json:"status,omitempty"`
	// Scale serves the scale subresource.
	Scale *Scale `json:"scale,omitempty"`
	// Subresources other than status and scale.
	Subresources []Subresource `json:"subresources,omitempty"`
	// Columns of a server-side table, after NAME and before AGE unless Columns has its
	// own age column.
	Columns []Column `json:"columns,omitempty"`
	// CompleteColumns says that no AGE is to be added to Columns.
	CompleteColumns bool `json:"completeColumns,omitempty"`
	// SelectableFields are paths such as ".spec.nodeName", beside metadata.name and
	// metadata.namespace.
	SelectableFields []string `json:"selectableFields,omitempty"`
	// SelectableAliases are names that field selectors may use for paths that differ from
	// them: the first path that has a value counts.
	SelectableAliases map[string][]string `json:"selectableAliases,omitempty"`
}

// Scale says where the parts of autoscaling/v1 Scale are found. Paths are simple JSON
// paths below the root, such as ".spec.replicas".
type Scale struct {
	SpecReplicasPath   string `json:"specReplicasPath"`
	StatusReplicasPath string `json:"statusReplicasPath"`
	// LabelSelectorPath is a string-typed selector, or a metav1.LabelSelector object.
	LabelSelectorPath string `json:"labelSelectorPath,omitempty"`
}

// Subresource is a path below an object, such as pods/binding or pods/log.
type Subresource struct {
	Name string `json:"name"`
	// Kind of the body that is sent or returned; empty group and version mean the
	// parent's.
	Group   string `json:"group,omitempty"`
	Version string `json:"version,omitempty"`
	Kind    string `json:"kind"`
	// Verbs as in discovery: create, get, patch, update.
	Verbs []string `json:"verbs"`
	// Connect subresources (log, exec, proxy) are byte streams handled by the server.
	Connect bool `json:"connect,omitempty"`
}

// Column is a printer column; see apiextensions.k8s.io/v1
// CustomResourceColumnDefinition.
type Column struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Format      string `json:"format,omitempty"`
	Description string `json:"description,omitempty"`
	Priority    int32  `json:"priority,omitempty"`
	// JSONPath yields the cell for types that come as data.
	JSONPath string `json:"jsonPath,omitempty"`
	// CEL yields the cell where a path is not enough (pods' READY). Hooks may print
	// rows instead; see sdk/resource.Printer.
	CEL string `json:"cel,omitempty"`
}

// Conversion says how objects of a type change version.
type Conversion struct {
	// Strategy is "None", "Webhook" or "Plugin".
	Strategy string `json:"strategy"`
	// Webhook is the apiextensions.k8s.io/v1 WebhookConversion, as JSON.
	Webhook []byte `json:"webhook,omitempty"`
}

// GroupResource returns the type's group and plural name.
func (d *Definition) GroupResource() runtimeschema.GroupResource {
	return runtimeschema.GroupResource{Group: d.Group, Resource: d.Names.Plural}
}

// Namespaced reports whether objects of the type live in a namespace.
func (d *Definition) Namespaced() bool { return d.Scope == NamespaceScoped }

// StorageVersion returns the version objects are stored in, or nil where none is marked.
func (d *Definition) StorageVersion() *Version {
	for i := range d.Versions {
		if d.Versions[i].Storage {
			return &d.Versions[i]
		}
	}
	return nil
}
