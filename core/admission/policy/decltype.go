package policy

import (
	"fmt"
	"slices"

	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// declType is the CEL type of a type's objects, by its schema; nil where it has none.
func declType(t *registry.Type, name string) (*apiservercel.DeclType, error) {
	if t.Version.Schema == nil {
		return nil, nil
	}
	s, err := t.Version.Schema()
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t.GVK, err)
	}
	s = s.WithMeta()
	d := common.SchemaDeclType(newOpenAPI(s, s.Root, nil), false)
	if d == nil {
		return nil, nil
	}
	return d.MaybeAssignTypeName(name), nil
}

// openAPI shows a schema to upstream's library. What has no one type (quantities, numbers
// or strings, schemas within themselves) is shown as of any type, so that no expression about
// it is called wrong.
type openAPI struct {
	*schema.Schema
	root *schema.Components
	// above are the components that this schema is within.
	above []string
}

var _ common.Schema = openAPI{}

var anything = &schema.Schema{IntOrString: true}

func newOpenAPI(s *schema.Schema, root *schema.Components, above []string) openAPI {
	for s.Ref != "" {
		if slices.Contains(above, s.Ref) {
			return openAPI{Schema: anything}
		}
		above = append(slices.Clip(above), s.Ref)
		target := schema.MetaComponents().Get(s.Ref)
		if target == nil && root != nil {
			target = root.Get(s.Ref)
		}
		if target == nil {
			return openAPI{Schema: anything}
		}
		s = target
	}
	if s.Type == "" || s.Format == "quantity" {
		s = anything
	}
	return openAPI{s, root, above}
}

func (o openAPI) child(s *schema.Schema) common.Schema {
	if s == nil {
		return nil
	}
	return newOpenAPI(s, o.root, o.above)
}

func (o openAPI) children(list []*schema.Schema) []common.Schema {
	out := make([]common.Schema, len(list))
	for i, s := range list {
		out[i] = o.child(s)
	}
	return out
}

func (o openAPI) Type() string          { return o.Schema.Type }
func (o openAPI) Format() string        { return o.Schema.Format }
func (o openAPI) Items() common.Schema  { return o.child(o.Schema.Items) }
func (o openAPI) Pattern() string       { return o.Schema.Pattern }
func (o openAPI) Minimum() *float64     { return o.Schema.Minimum }
func (o openAPI) Maximum() *float64     { return o.Schema.Maximum }
func (o openAPI) MultipleOf() *float64  { return o.Schema.MultipleOf }
func (o openAPI) MinItems() *int64      { return o.Schema.MinItems }
func (o openAPI) MaxItems() *int64      { return o.Schema.MaxItems }
func (o openAPI) MinLength() *int64     { return o.Schema.MinLength }
func (o openAPI) MaxLength() *int64     { return o.Schema.MaxLength }
func (o openAPI) MinProperties() *int64 { return o.Schema.MinProperties }
func (o openAPI) MaxProperties() *int64 { return o.Schema.MaxProperties }
func (o openAPI) Required() []string    { return o.Schema.Required }
func (o openAPI) Nullable() bool        { return o.Schema.Nullable }
func (o openAPI) UniqueItems() bool     { return o.Schema.UniqueItems }
func (o openAPI) Not() common.Schema    { return o.child(o.Schema.Not) }
func (o openAPI) XListType() string     { return o.ListType }
func (o openAPI) XMapType() string      { return o.MapType }

// IsExclusiveMinimum implements common.Schema.
func (o openAPI) IsExclusiveMinimum() bool { return o.ExclusiveMinimum }

// IsExclusiveMaximum implements common.Schema.
func (o openAPI) IsExclusiveMaximum() bool { return o.ExclusiveMaximum }

// IsXIntOrString implements common.Schema.
func (o openAPI) IsXIntOrString() bool { return o.IntOrString }

// IsXEmbeddedResource implements common.Schema.
func (o openAPI) IsXEmbeddedResource() bool { return o.EmbeddedResource }

// IsXPreserveUnknownFields implements common.Schema.
func (o openAPI) IsXPreserveUnknownFields() bool { return o.PreserveUnknownFields }

// XListMapKeys implements common.Schema.
func (o openAPI) XListMapKeys() []string { return o.ListMapKeys }

// AllOf implements common.Schema.
func (o openAPI) AllOf() []common.Schema { return o.children(o.Schema.AllOf) }

// AnyOf implements common.Schema.
func (o openAPI) AnyOf() []common.Schema { return o.children(o.Schema.AnyOf) }

// OneOf implements common.Schema.
func (o openAPI) OneOf() []common.Schema { return o.children(o.Schema.OneOf) }

// Default implements common.Schema. Types do not depend on defaults but for estimates of
// cost, which type checking has no use for; the same goes for Enum and XValidations.
func (o openAPI) Default() any { return nil }

// Enum implements common.Schema.
func (o openAPI) Enum() []any { return nil }

// XValidations implements common.Schema.
func (o openAPI) XValidations() []common.ValidationRule { return nil }

// Properties implements common.Schema.
func (o openAPI) Properties() map[string]common.Schema {
	out := make(map[string]common.Schema, len(o.Schema.Properties))
	for name, s := range o.Schema.Properties {
		out[name] = o.child(s)
	}
	return out
}

// AdditionalProperties implements common.Schema.
func (o openAPI) AdditionalProperties() common.SchemaOrBool {
	if o.Schema.AdditionalProperties == nil {
		return nil
	}
	return values{o.child(o.Schema.AdditionalProperties)}
}

// WithTypeAndObjectMeta implements common.Schema. Embedded objects have metadata of which
// only names are known.
func (o openAPI) WithTypeAndObjectMeta() common.Schema {
	out := *o.Schema
	out.Properties = make(map[string]*schema.Schema, len(o.Schema.Properties)+3)
	for name, s := range o.Schema.Properties {
		out.Properties[name] = s
	}
	text := &schema.Schema{Type: "string"}
	out.Properties["kind"], out.Properties["apiVersion"] = text, text
	out.Properties["metadata"] = &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{"name": text, "generateName": text}}
	return openAPI{&out, o.root, o.above}
}

// values are the values of a map.
type values struct{ schema common.Schema }

// Schema implements common.SchemaOrBool.
func (v values) Schema() common.Schema { return v.schema }

// Allows implements common.SchemaOrBool.
func (v values) Allows() bool { return true }
