package apiservertest

import (
	"encoding/json"
	"strings"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// Bundle is a test's own types, with the hooks of those that have some, by resource.
type Bundle struct {
	Types  []*crd.Definition
	HookOf map[string]any
}

// Definitions implements resource.Bundle.
func (b Bundle) Definitions() ([]*crd.Definition, error) { return b.Types, nil }

// Hooks implements resource.Bundle.
func (b Bundle) Hooks(gr runtimeschema.GroupResource) any { return b.HookOf[gr.Resource] }

// Anything is the schema of objects that may have all fields.
const Anything = `{"type":"object","x-kubernetes-preserve-unknown-fields":true}`

// Schema of a version, from JSON.
func Schema(text string) func() (*schema.Schema, error) {
	return func() (*schema.Schema, error) {
		s := &schema.Schema{}
		return s, json.Unmarshal([]byte(text), s)
	}
}

// Names of a type.
func Names(plural, kind string, short ...string) crd.Names {
	return crd.Names{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List", ShortNames: short}
}

// Type defines a type with the one version v1, as types that come with the server are
// defined. No schema text means that nothing is checked.
func Type(group, plural, kind string, scope crd.Scope, text string) *crd.Definition {
	v1 := crd.Version{Name: "v1", Served: true, Storage: true}
	if text != "" {
		v1.Schema = Schema(text)
	}
	return &crd.Definition{Group: group, Names: Names(plural, kind), Scope: scope, Source: registry.BuiltinSource, Versions: []crd.Version{v1}}
}
