package schema

import "encoding/json"

// Schema is a structural schema in the sense of apiextensions.k8s.io/v1, in the form
// that all definitions share. The JSON form is that of OpenAPI v3 with Kubernetes'
// extensions (x-kubernetes-…).
type Schema struct {
	// Ref names a schema in Root's Components, which is shared between types
	// ("io.k8s.api.core.v1.PodSpec"). All other fields but Description and Default are
	// then empty.
	Ref         string `json:"$ref,omitempty"`
	Description string `json:"description,omitempty"`
	Type        string `json:"type,omitempty"`
	Format      string `json:"format,omitempty"`
	Nullable    bool   `json:"nullable,omitempty"`
	// Default is JSON.
	Default json.RawMessage `json:"default,omitempty"`

	Properties map[string]*Schema `json:"properties,omitempty"`
	Required   []string           `json:"required,omitempty"`
	Items      *Schema            `json:"items,omitempty"`
	// AdditionalProperties is the schema of a map's values.
	AdditionalProperties *Schema `json:"additionalProperties,omitempty"`

	Enum []json.RawMessage `json:"enum,omitempty"`
	// OpenEnum says that Enum tells readers what values there are, and that hooks refuse
	// others, in words of their own.
	OpenEnum         bool     `json:"x-open-enum,omitempty"`
	Pattern          string   `json:"pattern,omitempty"`
	MinLength        *int64   `json:"minLength,omitempty"`
	MaxLength        *int64   `json:"maxLength,omitempty"`
	Minimum          *float64 `json:"minimum,omitempty"`
	Maximum          *float64 `json:"maximum,omitempty"`
	ExclusiveMinimum bool     `json:"exclusiveMinimum,omitempty"`
	ExclusiveMaximum bool     `json:"exclusiveMaximum,omitempty"`
	MultipleOf       *float64 `json:"multipleOf,omitempty"`
	MinItems         *int64   `json:"minItems,omitempty"`
	MaxItems         *int64   `json:"maxItems,omitempty"`
	UniqueItems      bool     `json:"uniqueItems,omitempty"`
	MinProperties    *int64   `json:"minProperties,omitempty"`
	MaxProperties    *int64   `json:"maxProperties,omitempty"`

	AllOf []*Schema `json:"allOf,omitempty"`
	AnyOf []*Schema `json:"anyOf,omitempty"`
	OneOf []*Schema `json:"oneOf,omitempty"`
	Not   *Schema   `json:"not,omitempty"`

	IntOrString           bool             `json:"x-kubernetes-int-or-string,omitempty"`
	PreserveUnknownFields bool             `json:"x-kubernetes-preserve-unknown-fields,omitempty"`
	EmbeddedResource      bool             `json:"x-kubernetes-embedded-resource,omitempty"`
	ListType              string           `json:"x-kubernetes-list-type,omitempty"`
	ListMapKeys           []string         `json:"x-kubernetes-list-map-keys,omitempty"`
	MapType               string           `json:"x-kubernetes-map-type,omitempty"`
	PatchStrategy         string           `json:"x-kubernetes-patch-strategy,omitempty"`
	PatchMergeKey         string           `json:"x-kubernetes-patch-merge-key,omitempty"`
	Validations           []ValidationRule `json:"x-kubernetes-validations,omitempty"`

	// Root is set on a type's outermost schema when it refers to shared components.
	Root *Components `json:"-"`
}

// ValidationRule is a CEL rule; see apiextensions.k8s.io/v1 ValidationRule.
type ValidationRule struct {
	Rule              string `json:"rule"`
	Message           string `json:"message,omitempty"`
	MessageExpression string `json:"messageExpression,omitempty"`
	Reason            string `json:"reason,omitempty"`
	FieldPath         string `json:"fieldPath,omitempty"`
	OptionalOldSelf   *bool  `json:"optionalOldSelf,omitempty"`
}

// Components are schemas that several types share by name.
type Components struct {
	// Get returns the named schema or nil.
	Get func(name string) *Schema
}
