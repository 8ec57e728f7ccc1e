package schema

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Options says how the objects of a type are treated.
type Options struct {
	// Group, Version and Kind name the type in messages.
	Group, Version, Kind string
	// Builtin types behave as upstream's typed decoding does: null is the same as
	// absent, an empty string takes a default, a value of the wrong type is a decoding
	// error (see Normalize), quantities and times take their canonical form, and required
	// fields, list keys and formats are left to the type's own validation.
	Builtin bool
	// PreserveUnknownFields keeps fields the schema does not name, at the root.
	PreserveUnknownFields bool
}

// Rules are the compiled x-kubernetes-validations of one type.
type Rules interface {
	// Validate evaluates the rules for an object; old is nil on create.
	Validate(ctx context.Context, obj, old map[string]any) field.ErrorList
}

// RuleCompiler compiles the rules of a schema whose references are all resolved. It is
// called when an object of the type is first validated.
type RuleCompiler func(s *Schema) (Rules, error)

// Compiler compiles schemas and keeps what they share: a component of a Components is
// compiled once, however many types refer to it. It is safe for concurrent use.
type Compiler struct {
	rules RuleCompiler

	mu sync.Mutex
	// shared has the nodes of components. They live as long as the compiler: shared
	// components are those of linked-in types, which are never removed.
	shared map[componentKey]*node
}

// NewCompiler returns a Compiler. Without rules (nil) x-kubernetes-validations are
// ignored; package rules has the implementation over CEL.
func NewCompiler(rules RuleCompiler) *Compiler {
	return &Compiler{rules: rules, shared: map[componentKey]*node{}}
}

// Compile compiles a type's schema by itself, as a third party's type and without
// x-kubernetes-validations. Servers use a Compiler.
func Compile(s *Schema) (*Compiled, error) {
	return NewCompiler(nil).Compile(s, Options{})
}

// Compile compiles a type's outermost schema. Errors name the path in the schema.
func (c *Compiler) Compile(s *Schema, o Options) (*Compiled, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &builder{compiler: c, typed: o.Builtin}
	root, err := b.root(s, o)
	if err != nil {
		return nil, err
	}
	out := &Compiled{root: root, options: o}
	if c.rules != nil && !o.Builtin && s.hasRules(s.Root, map[string]bool{}) {
		out.rules = sync.OnceValues(func() (Rules, error) {
			resolved, err := s.resolve(s.Root, nil)
			if err != nil {
				return nil, err
			}
			return c.rules(resolved)
		})
	}
	return out, nil
}
