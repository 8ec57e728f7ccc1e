package schema

import (
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// normalizer is one walk of Normalize.
type normalizer struct {
	compiled *Compiled
	path     []element
	unknown  []string
	empties  []Empty
	err      *DecodeError
}

// Empty is an empty list or Go map in an object. Where the object is stored it is as good as
// none, as what upstream stores in protobuf comes back without it; defaults and validation
// tell the two apart.
type Empty struct {
	in    map[string]any
	key   string
	value any
}

// Drop takes the field out of its object, if it is still empty.
func (e Empty) Drop() {
	switch v := e.in[e.key].(type) {
	case []any:
		if len(v) == 0 {
			delete(e.in, e.key)
		}
	case map[string]any:
		if len(v) == 0 {
			delete(e.in, e.key)
		}
	}
}

// Restore puts back what Drop has taken out, if nothing has come in its place.
func (e Empty) Restore() {
	if _, ok := e.in[e.key]; !ok {
		e.in[e.key] = e.value
	}
}

var normalizers = sync.Pool{New: func() any { return new(normalizer) }}

func (c *Compiled) normalize(tree map[string]any) ([]string, []Empty, *DecodeError) {
	w := normalizers.Get().(*normalizer)
	w.compiled = c
	if c.root.typed {
		w.typedObject(c.root, tree)
	} else {
		w.custom(c.root, tree, false)
	}
	unknown, empties, err := w.unknown, w.empties, w.err
	slices.Sort(unknown)
	w.path, w.unknown, w.empties, w.err, w.compiled = w.path[:0], nil, nil, nil, nil
	normalizers.Put(w)
	return unknown, empties, err
}

func (w *normalizer) push(e element) { w.path = append(w.path, e) }
func (w *normalizer) pop()           { w.path = w.path[:len(w.path)-1] }

func (w *normalizer) drop(x map[string]any, key string) {
	w.push(element{key: key, index: noIndex})
	w.unknown = append(w.unknown, joinPath(w.path))
	w.pop()
	delete(x, key)
}

// custom prunes a value of a custom resource: what its schema does not name goes, whatever
// the value's type is; wrong types are found by validation. keep is inherited from a list
// that preserves unknown fields.
func (w *normalizer) custom(n *node, v any, keep bool) {
	switch v := v.(type) {
	case map[string]any:
		keep = keep || n.preserve
		for k, c := range v {
			next := n.values
			if p := n.props[k]; p != nil {
				next = p.node
			}
			switch {
			case next == nil && keep:
			case next == nil:
				w.drop(v, k)
			case next.typed:
				w.push(element{key: k, index: noIndex})
				w.metadata(next, v, k)
				w.pop()
			default:
				if isContainer(c) {
					w.push(element{key: k, index: noIndex})
					w.custom(next, c, false)
					w.pop()
				}
			}
		}
	case []any:
		keep = keep || n.preserve
		items := n.items
		if items == nil {
			if keep {
				return
			}
			items = &node{}
		}
		for i, c := range v {
			if isContainer(c) {
				w.push(element{index: i})
				w.custom(items, c, keep)
				w.pop()
			}
		}
	}
}

// metadata decodes the metadata of a custom resource, or of a resource embedded in one.
func (w *normalizer) metadata(n *node, owner map[string]any, key string) {
	if owner[key] == nil {
		delete(owner, key)
		return
	}
	failed := w.err != nil
	if r, changed := w.typed(n, owner[key]); changed {
		owner[key] = r
	}
	if w.err != nil && !failed && len(w.path) > 1 {
		w.err.Message = field.Invalid(field.NewPath(joinPath(w.path)), owner[key], w.err.Message).Error()
	}
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// typedObject decodes an object as upstream decodes into a struct.
func (w *normalizer) typedObject(n *node, x map[string]any) {
	if n.values == nil && n.props == nil {
		return
	}
	for k, v := range x {
		p := n.props[k]
		var next *node
		switch {
		case p != nil:
			next = p.node
		case n.values != nil:
			next = n.values
		case n.preserve:
			continue
		default:
			w.drop(x, k)
			continue
		}
		if v == nil {
			// Null leaves a Go value as it is: absent, or the zero value in a map.
			switch zero := next.zero(); {
			case p == nil && zero != nil:
				x[k] = zero
			case p == nil && next.isTime(), next.kind == kindAny:
			default:
				delete(x, k)
			}
			continue
		}
		if next.kind == kindString {
			if _, ok := v.(string); ok {
				continue
			}
		}
		if p != nil && next.empty(v) {
			w.empties = append(w.empties, Empty{x, k, v})
			continue
		}
		w.push(element{key: k, index: noIndex, isKey: p == nil})
		if r, changed := w.typed(next, v); changed {
			x[k] = r
		}
		w.pop()
	}
}

// empty reports whether a value is an empty list or Go map. An empty object of a struct is
// not.
func (n *node) empty(v any) bool {
	switch v := v.(type) {
	case []any:
		return n.kind == kindArray && len(v) == 0
	case map[string]any:
		return n.kind == kindObject && n.values != nil && n.props == nil && len(v) == 0
	}
	return false
}

// zero is how the zero value of a node's Go type is written, or nil where that is null or
// where there is none.
func (n *node) zero() any {
	switch n.kind {
	case kindString, kindBytes:
		return ""
	case kindQuantity:
		return "0"
	case kindObject:
		return map[string]any{}
	case kindInteger:
		return int64(0)
	case kindBoolean:
		return false
	default:
		return nil
	}
}

// isTime reports whether a node is a time, whose zero value is null.
func (n *node) isTime() bool {
	return n.kind == kindTime || n.kind == kindMicroTime || n.kind == kindDateTime
}

// typed decodes a value that is not null. It returns the value to put in its place where
// changed is true.
func (w *normalizer) typed(n *node, v any) (r any, changed bool) {
	switch n.kind {
	case kindAny:
		if x, ok := v.(map[string]any); ok {
			w.typedObject(n, x)
		}
		return nil, false
	case kindObject:
		if x, ok := v.(map[string]any); ok {
			w.typedObject(n, x)
			return nil, false
		}
	case kindArray:
		if x, ok := v.([]any); ok {
			w.typedArray(n, x)
			return nil, false
		}
	case kindString:
		if _, ok := v.(string); ok {
			return nil, false
		}
	case kindBoolean:
		if _, ok := v.(bool); ok {
			return nil, false
		}
	case kindInteger:
		if i, ok := v.(int64); ok {
			if n.bits != 32 || i == int64(int32(i)) {
				return nil, false
			}
			w.mismatchNumber(n, strconv.FormatInt(i, 10))
			return nil, false
		}
		if f, ok := v.(float64); ok {
			w.mismatchNumber(n, formatFloat(f))
			return nil, false
		}
	case kindNumber:
		switch v.(type) {
		case int64, float64:
			return nil, false
		}
	default:
		return w.typedScalar(n, v)
	}
	w.mismatch(n, v)
	return nil, false
}

func (w *normalizer) typedArray(n *node, x []any) {
	items := n.items
	if items == nil {
		return
	}
	if items.kind == kindString {
		for i, v := range x {
			if _, ok := v.(string); ok {
				continue
			}
			if v == nil {
				x[i] = ""
				continue
			}
			w.push(element{index: i})
			w.mismatch(items, v)
			w.pop()
		}
		return
	}
	for i, v := range x {
		if v == nil {
			if items.kind == kindObject {
				x[i] = map[string]any{}
			}
			continue
		}
		w.push(element{index: i})
		if r, changed := w.typed(items, v); changed {
			x[i] = r
		}
		w.pop()
	}
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func appendIndex(b []byte, i int) []byte {
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(i), 10)
	return append(b, ']')
}
