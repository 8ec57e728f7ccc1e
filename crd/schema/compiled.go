package schema

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Compiled is a schema in the form that walks objects. It is immutable and safe for
// concurrent use. Trees are JSON values: map[string]any, []any, string, bool, int64,
// float64 and nil.
type Compiled struct {
	compiler *Compiler
	options  Options
}

// Default sets absent fields that have a default, in place.
func (c *Compiled) Default(tree map[string]any) {}

// Prune removes what the schema does not know, in place, and returns the paths of what it
// removed, such as "spec.containers[0].foo", sorted. It is Normalize without the check of
// types.
func (c *Compiled) Prune(tree map[string]any) []string { return nil }

// Normalize does what decoding into a Go type does upstream: it removes unknown fields
// (their paths are returned, sorted), and for built-in types and for metadata it removes
// nulls, turns quantities into their canonical form and refuses values of the wrong type
// with a *DecodeError, which is a 400 Bad Request.
func (c *Compiled) Normalize(tree map[string]any) (unknown []string, err error) { return nil, nil }

// Validate checks an object. old is the stored object on update and nil on create; what
// did not change is not held against a write (ratcheting).
func (c *Compiled) Validate(ctx context.Context, obj, old map[string]any) field.ErrorList {
	return nil
}

// Typed returns the type for structured-merge-diff. It is built on first use and kept.
func (c *Compiled) Typed() (typed.ParseableType, error) {
	return typed.ParseableType{}, errors.New("schema: not compiled")
}

// PatchMeta returns what strategic merge patch needs to know about the type.
func (c *Compiled) PatchMeta() strategicpatch.LookupPatchMeta { return nil }

// OpenAPIV3 returns the schema as OpenAPI, with references prefixed by refPrefix, such as
// "#/components/schemas/".
func (s *Schema) OpenAPIV3(refPrefix string) *spec.Schema { return nil }

// OpenAPIV2 is OpenAPIV3 without what OpenAPI v2 does not have.
func (s *Schema) OpenAPIV2(refPrefix string) *spec.Schema { return nil }

// DecodeError says that a value is not of its field's type.
type DecodeError struct {
	// Path of the value, such as "spec.replicas".
	Path string
	// Message in the words of encoding/json.
	Message string
}

// Error returns the message.
func (e *DecodeError) Error() string { return e.Message }
