package managedfields

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// node is a type of structured-merge-diff's schema in the form that is walked. A node may
// allow several shapes (a field of unknown content allows all).
type node struct {
	isMap, isList, isScalar bool

	mapAtomic bool
	fields    map[string]*node
	// elem is the type of a map's values or a list's items; nil where there is none.
	mapElem, listElem *node

	// associative lists are identified by keys, or by value where there are no keys.
	associative bool
	keys        []string
	// keyOrder is the order of the keys by name.
	keyOrder    []int
	keyDefaults []any
}

// nodes builds nodes lazily from a schema; a type is built once.
type nodes struct {
	schema *schema.Schema
	mu     sync.Mutex
	named  map[string]*node
}

func buildRoot(p typed.ParseableType) (*node, error) {
	if p.Schema == nil {
		return nil, fmt.Errorf("the type has no schema")
	}
	b := &nodes{schema: p.Schema, named: map[string]*node{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.build(p.TypeRef)
}

func (b *nodes) build(ref schema.TypeRef) (*node, error) {
	key := ""
	if ref.NamedType != nil {
		key = *ref.NamedType
		if ref.ElementRelationship != nil {
			key += "\x00" + string(*ref.ElementRelationship)
		}
		if n, ok := b.named[key]; ok {
			return n, nil
		}
	}
	atom, ok := b.schema.Resolve(ref)
	if !ok {
		return nil, fmt.Errorf("schema: no type %q", key)
	}
	n := &node{}
	if key != "" {
		b.named[key] = n
	}
	n.isScalar = atom.Scalar != nil
	if atom.Map != nil {
		n.isMap = true
		n.mapAtomic = atom.Map.ElementRelationship == schema.Atomic
		if !n.mapAtomic {
			if err := b.buildMap(n, atom.Map); err != nil {
				return nil, err
			}
		}
	}
	if atom.List != nil {
		n.isList = true
		n.associative = atom.List.ElementRelationship == schema.Associative
		if n.associative {
			if err := b.buildList(n, atom.List); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}

func (b *nodes) buildMap(n *node, m *schema.Map) error {
	n.fields = make(map[string]*node, len(m.Fields))
	for _, f := range m.Fields {
		c, err := b.build(f.Type)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		n.fields[f.Name] = c
	}
	var err error
	if !empty(m.ElementType) {
		n.mapElem, err = b.build(m.ElementType)
	}
	return err
}

func (b *nodes) buildList(n *node, l *schema.List) error {
	elem, err := b.build(l.ElementType)
	if err != nil {
		return err
	}
	n.listElem, n.keys = elem, l.Keys
	for i := range n.keys {
		n.keyOrder = append(n.keyOrder, i)
	}
	slices.SortFunc(n.keyOrder, func(a, b int) int { return strings.Compare(n.keys[a], n.keys[b]) })
	atom, _ := b.schema.Resolve(l.ElementType)
	n.keyDefaults = make([]any, len(l.Keys))
	for i, k := range l.Keys {
		if atom.Map != nil {
			if f, ok := atom.Map.FindField(k); ok {
				n.keyDefaults[i] = f.Default
			}
		}
	}
	return nil
}

func empty(r schema.TypeRef) bool {
	return r.NamedType == nil && r.Inlined.Map == nil && r.Inlined.List == nil && r.Inlined.Scalar == nil
}

// leaf stands for fields that the schema does not describe.
var leaf = &node{isScalar: true}

func (n *node) field(name string) *node {
	if c, ok := n.fields[name]; ok {
		return c
	}
	if n.mapElem != nil {
		return n.mapElem
	}
	return leaf
}

type shape uint8

const (
	scalarShape shape = iota
	mapShape
	listShape
)

// shape returns how a value is walked under n. Values that n does not allow, and null,
// take the first shape that it does allow.
func (n *node) shape(v any) shape {
	switch v.(type) {
	case map[string]any:
		if n.isMap {
			return mapShape
		}
	case []any:
		if n.isList {
			return listShape
		}
	case nil:
	default:
		if n.isScalar {
			return scalarShape
		}
	}
	switch {
	case n.isMap:
		return mapShape
	case n.isScalar || !n.isList:
		return scalarShape
	}
	return listShape
}
