package schema

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// PatchMeta returns what strategic merge patch needs to know about the type.
func (c *Compiled) PatchMeta() strategicpatch.LookupPatchMeta { return patchMeta{c.root} }

// patchMeta finds patch strategies in a compiled schema.
type patchMeta struct{ node *node }

var _ strategicpatch.LookupPatchMeta = patchMeta{}

func (m patchMeta) lookup(key string) (*node, strategicpatch.PatchMeta, error) {
	var meta strategicpatch.PatchMeta
	if p := m.node.props[key]; p != nil {
		meta.SetPatchStrategies(p.patchStrategies)
		meta.SetPatchMergeKey(p.patchMergeKey)
		return p.node, meta, nil
	}
	switch {
	case m.node.values != nil:
		return m.node.values, meta, nil
	case m.node.kind == kindAny || m.node.preserve:
		return anyNode, meta, nil
	}
	return nil, meta, fmt.Errorf("unable to find api field %q", key)
}

// anyNode stands for values without a schema: objects in them are merged, lists replaced.
var anyNode = &node{kind: kindAny, preserve: true}

// LookupPatchMetadataForStruct finds the schema and the strategy of a field that is an
// object.
func (m patchMeta) LookupPatchMetadataForStruct(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	n, meta, err := m.lookup(key)
	if err != nil {
		return nil, meta, err
	}
	return patchMeta{n}, meta, nil
}

// LookupPatchMetadataForSlice finds the schema of the elements and the strategy of a field
// that is a list.
func (m patchMeta) LookupPatchMetadataForSlice(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	n, meta, err := m.lookup(key)
	if err != nil {
		return nil, meta, err
	}
	switch {
	case n.items != nil:
		n = n.items
	case n.kind != kindAny:
		return nil, meta, fmt.Errorf("api field %q is not a list", key)
	}
	return patchMeta{n}, meta, nil
}

// Name returns the name of the type, for messages.
func (m patchMeta) Name() string {
	if m.node.name != "" {
		return m.node.name
	}
	return m.node.typeName()
}
