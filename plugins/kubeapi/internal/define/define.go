package define

import (
	"strconv"
	"strings"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/schemas"
)

// Type is a resource type: its data and its hooks (any of sdk/resource's interfaces).
type Type struct {
	*crd.Definition
	Hooks any
}

// Kind returns the definition of a kind with one version, served with all verbs.
func Kind(group, version, kind, plural string, options ...Option) *crd.Definition {
	d := &crd.Definition{
		Group: group,
		Names: crd.Names{
			Plural:   plural,
			Singular: strings.ToLower(kind),
			Kind:     kind,
			ListKind: kind + "List",
		},
		Scope:    crd.NamespaceScoped,
		Versions: []crd.Version{version1(group, version, kind)},
		Source:   registry.BuiltinSource,
	}
	for _, o := range options {
		o(d)
	}
	return d
}

func version1(group, version, kind string) crd.Version {
	gvk := runtimeschema.GroupVersionKind{Group: group, Version: version, Kind: kind}
	return crd.Version{
		Name: version, Served: true, Storage: true,
		Schema: func() (*schema.Schema, error) { return schemas.ForKind(gvk) },
	}
}

// Option changes a definition under construction.
type Option func(*crd.Definition)

// Cluster makes the type cluster-scoped.
func Cluster(d *crd.Definition) { d.Scope = crd.ClusterScoped }

// All puts the type in the category "all".
func All(d *crd.Definition) { d.Names.Categories = []string{"all"} }

// APIExtensions puts the type in the category "api-extensions".
func APIExtensions(d *crd.Definition) { d.Names.Categories = []string{"api-extensions"} }

// Short gives short names.
func Short(names ...string) Option {
	return func(d *crd.Definition) { d.Names.ShortNames = names }
}

// Status serves the status subresource.
func Status(d *crd.Definition) { d.Versions[0].Status = true }

// Verbs limits the verbs.
func Verbs(verbs ...string) Option {
	return func(d *crd.Definition) { d.Versions[0].Verbs = verbs }
}

// Scale serves the scale subresource of a type with spec.replicas and status.replicas.
func Scale(d *crd.Definition) {
	d.Versions[0].Scale = &crd.Scale{
		SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas",
		LabelSelectorPath: ".spec.selector",
	}
}

// Sub adds a subresource with a body of the parent's group and version.
func Sub(name, kind string, verbs ...string) Option {
	return SubOf(name, "", "", kind, verbs...)
}

// SubOf adds a subresource whose body is of another group or version.
func SubOf(name, group, version, kind string, verbs ...string) Option {
	return func(d *crd.Definition) {
		d.Versions[0].Subresources = append(d.Versions[0].Subresources, crd.Subresource{
			Name: name, Group: group, Version: version, Kind: kind, Verbs: verbs,
		})
	}
}

// Connect adds a subresource that is a byte stream.
func Connect(name, kind string, verbs ...string) Option {
	return func(d *crd.Definition) {
		d.Versions[0].Subresources = append(d.Versions[0].Subresources, crd.Subresource{
			Name: name, Kind: kind, Verbs: verbs, Connect: true,
		})
	}
}

// Selectable adds fields that field selectors may name.
func Selectable(paths ...string) Option {
	return func(d *crd.Definition) {
		d.Versions[0].SelectableFields = append(d.Versions[0].SelectableFields, paths...)
	}
}

// Deprecated warns everyone who uses the kind.
func Deprecated(warning string) Option {
	return func(d *crd.Definition) {
		d.Versions[0].Deprecated, d.Versions[0].DeprecationWarning = true, warning
	}
}

// CreateOnUpdate lets a PUT create.
func CreateOnUpdate(d *crd.Definition) { d.AllowCreateOnUpdate = true }

// ReturnDeleted answers deletions with the object.
func ReturnDeleted(d *crd.Definition) { d.ReturnDeletedObject = true }

// Generation says what the objects' generation counts.
func Generation(rule crd.Generation) Option {
	return func(d *crd.Definition) { d.Generation = rule }
}

// Uncounted objects have no generation.
func Uncounted(d *crd.Definition) { d.Generation = crd.GenerationNone }

// Counted objects have a generation though they have no spec.
func Counted(d *crd.Definition) { d.Generation = crd.GenerationAll }

// Alias adds a name that field selectors may use for the first of paths that has a value.
func Alias(name string, paths ...string) Option {
	return func(d *crd.Definition) {
		v := &d.Versions[0]
		if v.SelectableAliases == nil {
			v.SelectableAliases = map[string][]string{}
		}
		v.SelectableAliases[name] = paths
	}
}

// Also serves the kind in another version too, with all that is said before it. The type's
// hooks convert.
func Also(version string) Option {
	return func(d *crd.Definition) {
		v := d.Versions[0]
		schema := version1(d.Group, version, d.Names.Kind)
		v.Name, v.Storage, v.Schema = schema.Name, false, schema.Schema
		d.Versions = append(d.Versions, v)
	}
}

// Bucket stores the objects in another type's bucket.
func Bucket(name string) Option {
	return func(d *crd.Definition) { d.Bucket = name }
}

// Columns are the columns of a table beside the name, written NAME[:TYPE][/PRIORITY] with
// type "string" and priority 0 where they are left out. A column called Name takes the
// place of the one that tables otherwise begin with; no age is added.
func Columns(columns ...string) Option {
	return func(d *crd.Definition) {
		d.Versions[0].CompleteColumns = true
		for _, c := range columns {
			c, priority, _ := cutLast(c, "/")
			name, typ, typed := strings.Cut(c, ":")
			if !typed {
				typ = "string"
			}
			column := crd.Column{Name: name, Type: typ}
			if name == "Name" {
				column.Format = "name"
			}
			if p, err := strconv.Atoi(priority); err == nil {
				column.Priority = int32(p)
			}
			d.Versions[0].Columns = append(d.Versions[0].Columns, column)
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
