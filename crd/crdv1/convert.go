package crdv1

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// FromCRD returns the definition that a valid CustomResourceDefinition makes. It has the
// names that are accepted in the status where there are any, else those of the spec.
//
// Schemas are kept compressed and parsed when they are needed, so that a registered type
// that nobody uses costs little.
func FromCRD(c *apiextensionsv1.CustomResourceDefinition) (*crd.Definition, error) {
	return fromCRD(c, func(in *apiextensionsv1.CustomResourceDefinitionVersion) (func() (*schema.Schema, error), error) {
		if in.Schema == nil || in.Schema.OpenAPIV3Schema == nil {
			return nil, nil
		}
		packed, err := pack(fromProps(in.Schema.OpenAPIV3Schema))
		if err != nil {
			return nil, fmt.Errorf("schema.openAPIV3Schema: %w", err)
		}
		return packed.schema, nil
	})
}

// schemaSource returns what gives the schema of a version, or nil.
type schemaSource func(*apiextensionsv1.CustomResourceDefinitionVersion) (func() (*schema.Schema, error), error)

func fromCRD(c *apiextensionsv1.CustomResourceDefinition, source schemaSource) (*crd.Definition, error) {
	names := c.Spec.Names
	if c.Status.AcceptedNames.Plural != "" {
		names = c.Status.AcceptedNames
	}
	d := &crd.Definition{
		Group: c.Spec.Group,
		Names: crd.Names{
			Plural: names.Plural, Singular: names.Singular,
			Kind: names.Kind, ListKind: names.ListKind,
			ShortNames: names.ShortNames, Categories: names.Categories,
		},
		Scope:                 crd.Scope(c.Spec.Scope),
		PreserveUnknownFields: c.Spec.PreserveUnknownFields,
		Source:                "crd:" + c.Name,
	}
	if conv := c.Spec.Conversion; conv != nil && conv.Strategy != apiextensionsv1.NoneConverter {
		d.Conversion = &crd.Conversion{Strategy: string(conv.Strategy)}
		if conv.Webhook != nil {
			text, err := json.Marshal(conv.Webhook)
			if err != nil {
				return nil, fmt.Errorf("customresourcedefinition %q: spec.conversion.webhook: %w", c.Name, err)
			}
			d.Conversion.Webhook = text
		}
	}
	for i := range c.Spec.Versions {
		v, err := fromVersion(&c.Spec.Versions[i], source)
		if err != nil {
			return nil, fmt.Errorf("customresourcedefinition %q: spec.versions[%d]: %w", c.Name, i, err)
		}
		d.Versions = append(d.Versions, v)
	}
	return d, nil
}

func fromVersion(in *apiextensionsv1.CustomResourceDefinitionVersion, source schemaSource) (v crd.Version, err error) {
	v = crd.Version{Name: in.Name, Served: in.Served, Storage: in.Storage, Deprecated: in.Deprecated}
	if in.DeprecationWarning != nil {
		v.DeprecationWarning = *in.DeprecationWarning
	}
	if in.Subresources != nil {
		v.Status = in.Subresources.Status != nil
		if s := in.Subresources.Scale; s != nil {
			v.Scale = &crd.Scale{SpecReplicasPath: s.SpecReplicasPath, StatusReplicasPath: s.StatusReplicasPath}
			if s.LabelSelectorPath != nil {
				v.Scale.LabelSelectorPath = *s.LabelSelectorPath
			}
		}
	}
	for _, c := range in.AdditionalPrinterColumns {
		v.Columns = append(v.Columns, crd.Column{
			Name: c.Name, Type: c.Type, Format: c.Format,
			Description: c.Description, Priority: c.Priority, JSONPath: c.JSONPath,
		})
	}
	for _, f := range in.SelectableFields {
		v.SelectableFields = append(v.SelectableFields, f.JSONPath)
	}
	v.Schema, err = source(in)
	return v, err
}

// packed is a schema as compressed JSON.
type packed []byte

func pack(s *schema.Schema) (packed, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w).Encode(s); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}

func (p packed) schema() (*schema.Schema, error) {
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
	if err != nil {
		return nil, fmt.Errorf("unpack schema: %w", err)
	}
	s := &schema.Schema{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("parse schema: %w", err)
	}
	return s, nil
}

// fromProps brings a CRD's schema into the form that all definitions share. What is not
// allowed in a structural schema is left out.
func fromProps(in *apiextensionsv1.JSONSchemaProps) *schema.Schema {
	if in == nil {
		return nil
	}
	s := &schema.Schema{
		Description: in.Description, Type: in.Type, Format: in.Format, Nullable: in.Nullable,
		Required: in.Required, Pattern: in.Pattern,
		MinLength: in.MinLength, MaxLength: in.MaxLength,
		Minimum: in.Minimum, Maximum: in.Maximum, MultipleOf: in.MultipleOf,
		ExclusiveMinimum: in.ExclusiveMinimum, ExclusiveMaximum: in.ExclusiveMaximum,
		MinItems: in.MinItems, MaxItems: in.MaxItems, UniqueItems: in.UniqueItems,
		MinProperties: in.MinProperties, MaxProperties: in.MaxProperties,
		Not:         fromProps(in.Not),
		IntOrString: in.XIntOrString, EmbeddedResource: in.XEmbeddedResource,
		PreserveUnknownFields: in.XPreserveUnknownFields != nil && *in.XPreserveUnknownFields,
		ListMapKeys:           in.XListMapKeys,
	}
	if in.Default != nil && len(in.Default.Raw) > 0 && string(in.Default.Raw) != "null" {
		s.Default = in.Default.Raw
	}
	for _, e := range in.Enum {
		s.Enum = append(s.Enum, e.Raw)
	}
	if in.XListType != nil {
		s.ListType = *in.XListType
	}
	if in.XMapType != nil {
		s.MapType = *in.XMapType
	}
	if len(in.Properties) > 0 {
		s.Properties = make(map[string]*schema.Schema, len(in.Properties))
		for name, p := range in.Properties {
			s.Properties[name] = fromProps(&p)
		}
	}
	if a := in.AdditionalProperties; a != nil && (a.Allows || a.Schema != nil) {
		s.AdditionalProperties = fromProps(a.Schema)
		if s.AdditionalProperties == nil {
			s.AdditionalProperties = &schema.Schema{} // true: any value
		}
	}
	if in.Items != nil {
		s.Items = fromProps(in.Items.Schema)
	}
	s.AllOf, s.AnyOf, s.OneOf = fromList(in.AllOf), fromList(in.AnyOf), fromList(in.OneOf)
	for _, r := range in.XValidations {
		rule := schema.ValidationRule{
			Rule: r.Rule, Message: r.Message, MessageExpression: r.MessageExpression,
			FieldPath: r.FieldPath, OptionalOldSelf: r.OptionalOldSelf,
		}
		if r.Reason != nil {
			rule.Reason = string(*r.Reason)
		}
		s.Validations = append(s.Validations, rule)
	}
	return s
}

func fromList(in []apiextensionsv1.JSONSchemaProps) []*schema.Schema {
	var out []*schema.Schema
	for i := range in {
		out = append(out, fromProps(&in[i]))
	}
	return out
}

// Decode reads a CustomResourceDefinition from a JSON tree.
func Decode(tree map[string]any) (*apiextensionsv1.CustomResourceDefinition, error) {
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encode customresourcedefinition: %w", err)
	}
	c := &apiextensionsv1.CustomResourceDefinition{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("decode customresourcedefinition: %w", err)
	}
	return c, nil
}
