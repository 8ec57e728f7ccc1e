package schema

import (
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Typed returns the type for structured-merge-diff. It is built on first use and kept;
// what it needs of shared components is shared between all types.
func (c *Compiled) Typed() (typed.ParseableType, error) {
	c.typedOnce.Do(func() {
		root := mergeAtom(c.root, false)
		types := []smdschema.TypeDef{untypedAtomic, untypedDeduced}
		seen := map[*node]bool{}
		c.root.reachable(seen, func(n *node) {
			if n.name != "" {
				types = append(types, smdschema.TypeDef{Name: n.name, Atom: n.mergeType()})
			}
		})
		c.typed = typed.ParseableType{
			Schema:  &smdschema.Schema{Types: types},
			TypeRef: smdschema.TypeRef{Inlined: root},
		}
	})
	return c.typed, nil
}

// reachable calls f once for each node at or below n.
func (n *node) reachable(seen map[*node]bool, f func(*node)) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	f(n)
	for _, p := range n.order {
		p.node.reachable(seen, f)
	}
	n.values.reachable(seen, f)
	n.items.reachable(seen, f)
}

// mergeType is the type of a component.
func (n *node) mergeType() smdschema.Atom {
	n.mergeOnce.Do(func() {
		switch n.name {
		case "io.k8s.apimachinery.pkg.runtime.RawExtension":
			n.merge = untypedAtomic.Atom
		default:
			n.merge = mergeAtom(n, false)
		}
	})
	return n.merge
}

// The two types that stand for values of which no schema is known: one is owned as a
// whole, the other field by field. The names are those of upstream's converter.
var (
	untypedName = "__untyped_atomic_"
	deducedName = "__untyped_deduced_"

	scalarUntyped = smdschema.Scalar("untyped")
	scalarString  = smdschema.String
	scalarNumeric = smdschema.Numeric
	scalarBoolean = smdschema.Boolean

	untypedAtomic = smdschema.TypeDef{Name: untypedName, Atom: smdschema.Atom{
		Scalar: &scalarUntyped,
		List:   &smdschema.List{ElementType: smdschema.TypeRef{NamedType: &untypedName}, ElementRelationship: smdschema.Atomic},
		Map:    &smdschema.Map{ElementType: smdschema.TypeRef{NamedType: &untypedName}, ElementRelationship: smdschema.Atomic},
	}}
	untypedDeduced = smdschema.TypeDef{Name: deducedName, Atom: smdschema.Atom{
		Scalar: &scalarUntyped,
		List:   &smdschema.List{ElementType: smdschema.TypeRef{NamedType: &untypedName}, ElementRelationship: smdschema.Atomic},
		Map:    &smdschema.Map{ElementType: smdschema.TypeRef{NamedType: &deducedName}, ElementRelationship: smdschema.Separable},
	}}
)

// mergeAtom derives a node's merge type, as upstream derives it from OpenAPI. preserve is
// inherited: below a field that preserves unknown fields all unknown fields are deduced.
func mergeAtom(n *node, preserve bool) smdschema.Atom {
	preserve = preserve || n.preserve
	switch n.kind {
	case kindObject:
		return smdschema.Atom{Map: mergeMap(n, preserve)}
	case kindArray:
		return smdschema.Atom{List: mergeList(n, nil, preserve)}
	case kindInteger, kindNumber:
		return smdschema.Atom{Scalar: &scalarNumeric}
	case kindBoolean:
		return smdschema.Atom{Scalar: &scalarBoolean}
	case kindString, kindBytes:
		if n.formatted && n.kind == kindString {
			return smdschema.Atom{Scalar: &scalarUntyped}
		}
		return smdschema.Atom{Scalar: &scalarString}
	case kindAny:
		if n.rawObject {
			return smdschema.Atom{Map: mergeMap(n, preserve)}
		}
		return smdschema.Atom{Scalar: &scalarUntyped, List: mergeList(n, nil, preserve), Map: mergeMap(n, preserve)}
	case kindIntOrString:
		if n.typed {
			return smdschema.Atom{Scalar: &scalarUntyped}
		}
		return smdschema.Atom{Scalar: &scalarUntyped, List: mergeList(n, nil, preserve), Map: mergeMap(n, preserve)}
	}
	return smdschema.Atom{Scalar: &scalarUntyped}
}

func mergeMap(n *node, preserve bool) *smdschema.Map {
	m := &smdschema.Map{}
	for _, p := range n.order {
		m.Fields = append(m.Fields, smdschema.StructField{Name: p.name, Type: mergeField(p, preserve), Default: p.def})
	}
	switch {
	case n.values != nil:
		m.ElementType = mergeRef(n.values, preserve)
	case preserve || len(n.props) == 0:
		m.ElementType = smdschema.TypeRef{NamedType: &deducedName}
	}
	m.ElementRelationship = mapRelationship(n.mapAtomic, n.mapGranular)
	return m
}

func mapRelationship(atomic, granular bool) smdschema.ElementRelationship {
	switch {
	case atomic:
		return smdschema.Atomic
	case granular:
		return smdschema.Separable
	}
	return ""
}

// mergeField is the type of a property. What the property says about merging goes before
// what a component says.
func mergeField(p *property, preserve bool) smdschema.TypeRef {
	if p.node.name == "" && p.node.kind == kindArray && len(p.patchStrategies) > 0 && p.node.listType == listUnset {
		return smdschema.TypeRef{Inlined: smdschema.Atom{List: mergeList(p.node, p, preserve || p.node.preserve)}}
	}
	ref := mergeRef(p.node, preserve)
	if ref.NamedType != nil {
		if rel := mapRelationship(p.mapAtomic, p.mapGranular); rel != "" {
			ref.ElementRelationship = &rel
		}
	}
	return ref
}

func mergeRef(n *node, preserve bool) smdschema.TypeRef {
	if n.name != "" {
		return smdschema.TypeRef{NamedType: &n.name}
	}
	return smdschema.TypeRef{Inlined: mergeAtom(n, preserve)}
}

// mergeList is a list's merge type; p is the property that has the list, where its patch
// strategy decides.
func mergeList(n *node, p *property, preserve bool) *smdschema.List {
	l := &smdschema.List{ElementRelationship: smdschema.Atomic}
	if n.items != nil {
		l.ElementType = mergeRef(n.items, preserve)
	} else {
		l.ElementType = smdschema.TypeRef{NamedType: &untypedName}
	}
	switch {
	case n.listType == listSet:
		l.ElementRelationship = smdschema.Associative
	case n.listType == listMap:
		l.ElementRelationship, l.Keys = smdschema.Associative, n.listKeys
	case p != nil && p.patchStrategies[0] == "merge":
		l.ElementRelationship = smdschema.Associative
		if p.patchMergeKey != "" {
			l.Keys = []string{p.patchMergeKey}
		}
	}
	return l
}
