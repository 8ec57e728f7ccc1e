package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

type componentKey struct {
	components *Components
	name       string
	typed      bool
}

// builder makes the nodes of one type. The compiler's lock is held while it works.
type builder struct {
	compiler   *Compiler
	components *Components
	typed      bool
	// made are the nodes that this builder has made, for finish.
	made []*node
	// added are the keys it has put among the shared nodes, taken back on an error.
	added []componentKey
}

func (b *builder) root(s *Schema, o Options) (root *node, err error) {
	if s == nil {
		return nil, errors.New("no schema")
	}
	b.components = s.Root
	defer func() {
		if err != nil {
			for _, k := range b.added {
				delete(b.compiler.shared, k)
			}
		}
	}()
	if s.Ref != "" {
		// A type's root is not shared: it gets apiVersion, kind and metadata.
		target := b.get(s.Ref)
		if target == nil {
			return nil, fmt.Errorf("$ref: component %q is not known", s.Ref)
		}
		s = target
	}
	root, err = b.node(s, "")
	if err != nil {
		return nil, err
	}
	root.kind = kindObject
	root.preserve = root.preserve || o.PreserveUnknownFields
	if err := b.addMeta(root); err != nil {
		return nil, err
	}
	if err := finish(b.made); err != nil {
		return nil, err
	}
	root.name = ""
	return root, nil
}

// addMeta gives an object apiVersion, kind and metadata. What the schema itself asks of
// metadata is kept as a check.
func (b *builder) addMeta(n *node) error {
	for _, name := range []string{"apiVersion", "kind"} {
		if n.props[name] == nil {
			n.setProperty(&property{name: name, node: b.keep(&node{kind: kindString, typed: n.typed})})
		}
	}
	meta, err := b.component(objectMetaName)
	if err != nil {
		return err
	}
	p := &property{name: "metadata", node: meta}
	if given := n.props["metadata"]; given != nil && given.node != meta && !n.typed {
		p.check = given.node
	}
	n.setProperty(p)
	return nil
}

func (b *builder) keep(n *node) *node {
	b.made = append(b.made, n)
	return n
}

func (b *builder) get(name string) *Schema {
	if s := metaComponents()[name]; s != nil {
		return s
	}
	if b.components == nil || b.components.Get == nil {
		return nil
	}
	return b.components.Get(name)
}

// component returns the shared node of a component, compiling it if it is new.
func (b *builder) component(name string) (*node, error) {
	key := componentKey{b.components, name, b.typed}
	if metaComponents()[name] != nil {
		// These are the same for everyone, and always typed.
		key = componentKey{nil, name, true}
	}
	if n := b.compiler.shared[key]; n != nil {
		return n, nil
	}
	s := b.get(name)
	if s == nil {
		return nil, fmt.Errorf("$ref: component %q is not known", name)
	}
	// The node must be there before its fields are compiled: they may refer to it.
	n := b.keep(&node{name: name, typed: key.typed})
	b.compiler.shared[key] = n
	b.added = append(b.added, key)
	was := b.typed
	b.typed = key.typed
	err := b.fill(n, s, name)
	b.typed = was
	return n, err
}

// node returns the node of a schema at a path in the type's schema.
func (b *builder) node(s *Schema, path string) (*node, error) {
	if s == nil {
		return nil, fmt.Errorf("%s: null is not a schema", orRoot(path))
	}
	if ref := s.reference(); ref != "" {
		n, err := b.component(ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", orRoot(path), err)
		}
		return n, nil
	}
	n := b.keep(&node{typed: b.typed})
	return n, b.fill(n, s, path)
}

// reference returns the component a schema stands for: its $ref, or that of an allOf with
// one member, as OpenAPI v3 documents write a reference that has a description.
func (s *Schema) reference() string {
	if s.Ref == "" && s.Type == "" && len(s.AllOf) == 1 && s.AllOf[0] != nil && s.Properties == nil {
		return s.AllOf[0].Ref
	}
	return s.Ref
}

func (b *builder) fill(n *node, s *Schema, path string) error {
	if err := n.setKind(s, path); err != nil {
		return err
	}
	n.nullable = s.Nullable
	n.preserve = n.preserve || s.PreserveUnknownFields
	n.embedded = s.EmbeddedResource
	n.listKeys = s.ListMapKeys
	n.mapAtomic = s.MapType == "atomic"
	n.mapGranular = s.MapType == "granular"
	switch s.ListType {
	case "":
	case "atomic":
		n.listType = listAtomic
	case "set":
		n.listType = listSet
	case "map":
		n.listType = listMap
		if len(s.ListMapKeys) == 0 {
			return fmt.Errorf("%s: x-kubernetes-list-map-keys: required for x-kubernetes-list-type map", orRoot(path))
		}
	default:
		return fmt.Errorf("%s: x-kubernetes-list-type: %q is none of atomic, set, map", orRoot(path), s.ListType)
	}
	def, err := parseDefault(s.Default)
	if err != nil {
		return fmt.Errorf("%s: default: %w", orRoot(path), err)
	}
	n.def = def

	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p, err := b.property(name, s.Properties[name], path+".properties["+name+"]")
		if err != nil {
			return err
		}
		n.setProperty(p)
	}
	if s.AdditionalProperties != nil {
		if n.values, err = b.node(s.AdditionalProperties, path+".additionalProperties"); err != nil {
			return err
		}
	}
	if s.Items != nil {
		if n.items, err = b.node(s.Items, path+".items"); err != nil {
			return err
		}
	}
	if n.embedded {
		if err := b.addMeta(n); err != nil {
			return err
		}
	}
	return b.fillChecks(n, s, path)
}

func (b *builder) property(name string, s *Schema, path string) (*property, error) {
	n, err := b.node(s, path)
	if err != nil {
		return nil, err
	}
	p := &property{
		name: name, node: n,
		patchMergeKey: s.PatchMergeKey,
		mapAtomic:     s.MapType == "atomic",
		mapGranular:   s.MapType == "granular",
	}
	if s.PatchStrategy != "" {
		p.patchStrategies = strings.Split(s.PatchStrategy, ",")
	}
	if p.def, err = parseDefault(s.Default); err != nil {
		return nil, fmt.Errorf("%s: default: %w", path, err)
	}
	p.hasDef = p.def != nil
	return p, nil
}

func (n *node) setProperty(p *property) {
	if n.props == nil {
		n.props = map[string]*property{}
	}
	n.props[p.name] = p
}

func (n *node) setKind(s *Schema, path string) error {
	switch s.Type {
	case "":
		n.kind = kindAny
	case "object":
		n.kind = kindObject
	case "array":
		n.kind = kindArray
	case "string":
		n.kind = kindString
	case "integer":
		n.kind = kindInteger
	case "number":
		n.kind = kindNumber
	case "boolean":
		n.kind = kindBoolean
	default:
		return fmt.Errorf("%s: type: %q is none of array, boolean, integer, number, object, string", orRoot(path), s.Type)
	}
	switch {
	case n.kind == kindInteger && s.Format == "int32", n.kind == kindNumber && s.Format == "float":
		n.bits = 32
	case n.kind == kindInteger && s.Format == "int64", n.kind == kindNumber && s.Format == "double":
		n.bits = 64
	}
	n.formatted = s.Format != ""
	if s.IntOrString {
		n.kind = kindIntOrString
	}
	n.rawObject = n.kind == kindObject && len(s.Properties) == 0 && s.AdditionalProperties == nil
	if n.typed {
		n.setTypedKind(s)
	}
	return nil
}

// setTypedKind refines the kind of values that Go types decode in their own way.
func (n *node) setTypedKind(s *Schema) {
	switch n.name {
	case "io.k8s.apimachinery.pkg.api.resource.Quantity":
		n.kind = kindQuantity
		return
	case timeName:
		n.kind = kindTime
		return
	case microTimeName:
		n.kind = kindMicroTime
		return
	case "io.k8s.apimachinery.pkg.util.intstr.IntOrString":
		n.kind = kindIntOrString
		return
	}
	switch {
	case n.rawObject:
		// RawExtension, FieldsV1 and the like: any JSON.
		n.kind, n.preserve = kindAny, true
	case n.kind == kindAny:
		n.preserve = len(s.Properties) == 0
	case n.kind == kindString:
		switch s.Format {
		case "byte":
			n.kind = kindBytes
		case "int-or-string":
			n.kind = kindIntOrString
		case "quantity":
			n.kind = kindQuantity
		case "date-time":
			n.kind = kindDateTime
		}
	}
}

// finish derives what nodes know of the nodes below them.
func finish(made []*node) error {
	for _, n := range made {
		n.order = slices.SortedFunc(maps.Values(n.props), func(a, b *property) int { return strings.Compare(a.name, b.name) })
		n.checking = n.checks != nil || !n.typed
	}
	// Flags travel up the graph until none changes; cycles end it as well as leaves do.
	for changed := true; changed; {
		changed = false
		for _, n := range made {
			if !n.defaults && n.anyBelow(func(p *property, c *node) bool {
				return c.defaults || (p != nil && p.hasDef) || (p == nil && c.def != nil)
			}) {
				n.defaults, changed = true, true
			}
			if !n.checking && n.anyBelow(func(p *property, c *node) bool { return c.checking }) {
				n.checking, changed = true, true
			}
		}
	}
	for _, n := range made {
		for _, p := range n.order {
			if p.hasDef || p.node.defaults {
				n.defaulted = append(n.defaulted, p)
			}
			if p.node.checking {
				n.checked = append(n.checked, p)
			}
		}
	}
	return refuseEndlessDefaults(made)
}

// anyBelow reports whether f holds for a property, the values or the items of n.
func (n *node) anyBelow(f func(*property, *node) bool) bool {
	for _, p := range n.order {
		if f(p, p.node) {
			return true
		}
	}
	return (n.values != nil && f(nil, n.values)) || (n.items != nil && f(nil, n.items))
}

// refuseEndlessDefaults fails where defaults would make objects without end: a component
// with a default for a field that holds the component again.
func refuseEndlessDefaults(made []*node) error {
	const visiting, done = 1, 2
	state := map[*node]int{}
	var visit func(n *node) error
	visit = func(n *node) error {
		switch state[n] {
		case visiting:
			return fmt.Errorf("component %q: its defaults contain themselves", n.name)
		case done:
			return nil
		}
		state[n] = visiting
		for _, p := range n.order {
			if p.hasDef && p.node.kind == kindObject {
				if err := visit(p.node); err != nil {
					return err
				}
			}
		}
		state[n] = done
		return nil
	}
	for _, n := range made {
		if err := visit(n); err != nil {
			return err
		}
	}
	return nil
}

func parseDefault(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	// utiljson gives int64 for integers, as trees have them.
	if err := utiljson.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}

func orRoot(path string) string {
	if path == "" {
		return "schema"
	}
	return strings.TrimPrefix(path, ".")
}
