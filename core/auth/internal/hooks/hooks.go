package hooks

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// With returns a bundle that has the definitions of b, and for the resources in extra the
// hooks there beside those of b.
func With(b resource.Bundle, extra map[schema.GroupResource]any) resource.Bundle {
	return bundle{b, extra}
}

type bundle struct {
	base  resource.Bundle
	extra map[schema.GroupResource]any
}

func (b bundle) Definitions() ([]*crd.Definition, error) { return b.base.Definitions() }

func (b bundle) Hooks(gr schema.GroupResource) any {
	extra, ok := b.extra[gr]
	if !ok {
		return b.base.Hooks(gr)
	}
	return compose(b.base.Hooks(gr), extra)
}

// compose returns hooks that call first's and then second's. Where only one can answer
// (deletion, subresources, printing), second goes before first.
func compose(first, second any) any {
	if first == nil {
		return second
	}
	w := writes{first, second}
	d, hasD := either[resource.Deleter](first, second)
	s, hasS := either[resource.Subresourcer](first, second)
	p, hasP := either[resource.Printer](first, second)
	// The server asks a hook what it implements, so the result must implement exactly
	// what the two do.
	switch {
	case hasD && hasS && hasP:
		return struct {
			writes
			resource.Deleter
			resource.Subresourcer
			resource.Printer
		}{w, d, s, p}
	case hasD && hasS:
		return struct {
			writes
			resource.Deleter
			resource.Subresourcer
		}{w, d, s}
	case hasD && hasP:
		return struct {
			writes
			resource.Deleter
			resource.Printer
		}{w, d, p}
	case hasS && hasP:
		return struct {
			writes
			resource.Subresourcer
			resource.Printer
		}{w, s, p}
	case hasD:
		return struct {
			writes
			resource.Deleter
		}{w, d}
	case hasS:
		return struct {
			writes
			resource.Subresourcer
		}{w, s}
	case hasP:
		return struct {
			writes
			resource.Printer
		}{w, p}
	}
	return w
}

func either[T any](first, second any) (T, bool) {
	if t, ok := second.(T); ok {
		return t, true
	}
	t, ok := first.(T)
	return t, ok
}

// writes calls both hooks on the write path.
type writes struct{ first, second any }

func (w writes) Default(ctx context.Context, r *resource.Request) error {
	for _, h := range [...]any{w.first, w.second} {
		if d, ok := h.(resource.Defaulter); ok {
			if err := d.Default(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w writes) Prepare(ctx context.Context, r *resource.Request) error {
	for _, h := range [...]any{w.first, w.second} {
		if p, ok := h.(resource.Preparer); ok {
			if err := p.Prepare(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w writes) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	var all field.ErrorList
	for _, h := range [...]any{w.first, w.second} {
		if v, ok := h.(resource.Validator); ok {
			all = append(all, v.Validate(ctx, r)...)
		}
	}
	return all
}
