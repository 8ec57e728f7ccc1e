package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// DefinitionsToWire converts a bundle's definitions together with the schemas they refer
// to and the hooks they have.
func DefinitionsToWire(b resource.Bundle) (*pluginv1.DefinitionsResponse, error) {
	defs, err := b.Definitions()
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	out := &pluginv1.DefinitionsResponse{Components: map[string][]byte{}}
	for _, d := range defs {
		wire, err := definitionToWire(d, out.Components)
		if err != nil {
			return nil, fmt.Errorf("definition of %s: %w", d.GroupResource(), err)
		}
		wire.Hooks = HooksOf(b.Hooks(d.GroupResource()))
		out.Definitions = append(out.Definitions, wire)
	}
	return out, nil
}

func definitionToWire(d *crd.Definition, components map[string][]byte) (*pluginv1.Definition, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	out := &pluginv1.Definition{Definition: raw, Schemas: map[string][]byte{}}
	for i := range d.Versions {
		v := &d.Versions[i]
		if v.Schema == nil {
			continue
		}
		s, err := v.Schema()
		if err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
		if out.Schemas[v.Name], err = json.Marshal(s); err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
		if s.Root == nil || s.Root.Get == nil {
			continue
		}
		if err := gather(s, s.Root.Get, components); err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
	}
	return out, nil
}

// gather adds to into all schemas that s refers to by name.
func gather(s *schema.Schema, get func(string) *schema.Schema, into map[string][]byte) error {
	if s == nil {
		return nil
	}
	if s.Ref != "" {
		if _, done := into[s.Ref]; done {
			return nil
		}
		target := get(s.Ref)
		if target == nil {
			return fmt.Errorf("$ref %q names no schema", s.Ref)
		}
		raw, err := json.Marshal(target)
		if err != nil {
			return err
		}
		into[s.Ref] = raw
		return gather(target, get, into)
	}
	children := []*schema.Schema{s.Items, s.AdditionalProperties, s.Not}
	children = append(children, s.AllOf...)
	children = append(children, s.AnyOf...)
	children = append(children, s.OneOf...)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		children = append(children, s.Properties[name])
	}
	for _, c := range children {
		if err := gather(c, get, into); err != nil {
			return err
		}
	}
	return nil
}

// DefinitionsFromWire is the inverse of DefinitionsToWire. Schemas are parsed when they
// are asked for. Source of each definition becomes "plugin:NAME".
func DefinitionsFromWire(plugin string, r *pluginv1.DefinitionsResponse) ([]*crd.Definition, error) {
	components := &lazyComponents{raw: r.GetComponents()}
	root := &schema.Components{Get: components.get}
	out := make([]*crd.Definition, 0, len(r.GetDefinitions()))
	for i, wire := range r.GetDefinitions() {
		d := &crd.Definition{}
		if err := json.Unmarshal(wire.GetDefinition(), d); err != nil {
			return nil, fmt.Errorf("plugin %s: definition %d: %w", plugin, i, err)
		}
		d.Source = "plugin:" + plugin
		for j := range d.Versions {
			raw, ok := wire.GetSchemas()[d.Versions[j].Name]
			if !ok {
				continue
			}
			d.Versions[j].Schema = func() (*schema.Schema, error) {
				s := &schema.Schema{}
				if err := json.Unmarshal(raw, s); err != nil {
					return nil, err
				}
				if len(components.raw) > 0 {
					s.Root = root
				}
				return s, nil
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// HooksOf lists the hooks that a value returned by Bundle.Hooks implements.
func HooksOf(hooks any) []pluginv1.Hook {
	var out []pluginv1.Hook
	add := func(has bool, h pluginv1.Hook) {
		if has {
			out = append(out, h)
		}
	}
	_, has := hooks.(resource.Defaulter)
	add(has, pluginv1.Hook_HOOK_DEFAULT)
	_, has = hooks.(resource.Preparer)
	add(has, pluginv1.Hook_HOOK_PREPARE)
	_, has = hooks.(resource.Validator)
	add(has, pluginv1.Hook_HOOK_VALIDATE)
	_, has = hooks.(resource.Deleter)
	add(has, pluginv1.Hook_HOOK_GRACE_PERIOD)
	_, has = hooks.(resource.Subresourcer)
	add(has, pluginv1.Hook_HOOK_SUBRESOURCE)
	_, has = hooks.(resource.Virtual)
	add(has, pluginv1.Hook_HOOK_VIRTUAL)
	_, has = hooks.(resource.Printer)
	add(has, pluginv1.Hook_HOOK_CELLS)
	return out
}
