package main

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/sdk/resource"
)

const group = "example.dev"

var gvr = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}

// widgetSchema is written as in a CustomResourceDefinition.
const widgetSchema = `{
	"type": "object",
	"description": "Widget is a thing with a size.",
	"required": ["spec"],
	"properties": {
		"spec": {
			"type": "object",
			"required": ["size"],
			"properties": {
				"size": {"type": "integer", "minimum": 1, "maximum": 100, "description": "Size in teeth."},
				"spare": {"type": "integer", "minimum": 0, "default": 0, "description": "Teeth that may break; less than size."},
				"colour": {"type": "string", "enum": ["red", "green", "blue"], "default": "red"}
			}
		},
		"status": {
			"type": "object",
			"properties": {
				"phase": {"type": "string"},
				"configMap": {"type": "string", "description": "ConfigMap that was made for the widget."}
			}
		}
	}
}`

// Definitions implements resource.Bundle.
func (*widgetPlugin) Definitions() ([]*resource.Definition, error) {
	return []*resource.Definition{{
		Group: group,
		Scope: resource.NamespaceScoped,
		Names: resource.Names{
			Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList", ShortNames: []string{"wd"},
		},
		Versions: []resource.Version{{
			Name: gvr.Version, Served: true, Storage: true, Status: true,
			Schema: func() (*resource.Schema, error) {
				s := &resource.Schema{}
				return s, json.Unmarshal([]byte(widgetSchema), s)
			},
			Columns: []resource.Column{
				{Name: "Size", Type: "integer", JSONPath: ".spec.size"},
				{Name: "Colour", Type: "string", JSONPath: ".spec.colour"},
				{Name: "Phase", Type: "string", JSONPath: ".status.phase"},
			},
		}},
	}}, nil
}

// hooks hold the rule that ties one field to another.
type hooks struct{}

var _ resource.Validator = hooks{}

// Validate implements resource.Validator. The schema has been checked by then.
func (hooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	spec, _ := r.Object["spec"].(map[string]any)
	size, _ := spec["size"].(int64)
	spare, _ := spec["spare"].(int64)
	if spare >= size {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "spare"), spare, "must be less than spec.size")}
	}
	return nil
}
