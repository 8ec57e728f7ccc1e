package schema

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Compiled is a schema in the form that walks objects. It is immutable and safe for
// concurrent use. Trees are JSON values: map[string]any, []any, string, bool, int64,
// float64 and nil.
//
// A write calls Normalize, Default and then Validate.
type Compiled struct {
	root    *node
	options Options
	// rules compiles x-kubernetes-validations; nil where there are none.
	rules func() (Rules, error)

	typedOnce sync.Once
	typed     typed.ParseableType
}

// Default sets absent fields that have a default, in place. In custom resources it also
// removes nulls from fields that are not nullable, as upstream does.
func (c *Compiled) Default(tree map[string]any) {
	if c.root.typed {
		if c.root.defaults {
			defaultTyped(c.root, tree)
		}
		return
	}
	defaultCustom(c.root, tree)
}

// HasDefaults reports whether the schema has any default.
func (c *Compiled) HasDefaults() bool { return c.root.defaults }

// Prune removes what the schema does not know, in place, and returns the paths of what it
// removed, such as "spec.containers[0].foo", sorted. It is Normalize for callers to whom
// values of a wrong type do not matter, such as those that read stored objects.
func (c *Compiled) Prune(tree map[string]any) []string {
	unknown, _, _ := c.normalize(tree)
	return unknown
}

// Normalize does what decoding into a Go type does upstream: it removes unknown fields
// (their paths are returned, sorted), and for built-in types and for metadata it removes
// nulls, turns quantities and times into their canonical form and refuses values of the
// wrong type with a *DecodeError, which is a 400 Bad Request.
func (c *Compiled) Normalize(tree map[string]any) (unknown []string, err error) {
	unknown, _, err = c.NormalizeNoting(tree)
	return unknown, err
}

// NormalizeNoting is Normalize, and notes the empty lists and maps of built-in types and of
// metadata, which are to be dropped before the object is stored.
func (c *Compiled) NormalizeNoting(tree map[string]any) (unknown []string, empties []Empty, err error) {
	unknown, empties, derr := c.normalize(tree)
	if derr != nil {
		return unknown, empties, derr
	}
	return unknown, empties, nil
}

// Validate checks an object. old is the stored object on update and nil on create; what
// did not change is not held against a write to a custom resource (ratcheting). The
// context bounds the evaluation of CEL rules.
func (c *Compiled) Validate(ctx context.Context, obj, old map[string]any) field.ErrorList {
	errs := c.validate(obj, old)
	if c.rules == nil {
		return errs
	}
	for _, e := range errs {
		switch e.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong,
			field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			// Rules are written for objects of the right shape.
			return append(errs, field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
		}
	}
	rules, err := c.rules()
	if err != nil {
		return append(errs, field.InternalError(nil, err))
	}
	if rules == nil {
		return errs
	}
	return append(errs, rules.Validate(ctx, obj, old)...)
}

// DecodeError says that a value is not of its field's type.
type DecodeError struct {
	// Path of the value, such as "spec.containers[0].ports".
	Path string
	// Message in the words of upstream's decoder.
	Message string
}

// Error returns the message.
func (e *DecodeError) Error() string { return e.Message }
