package managedfields

import (
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

// comparison is the difference of two objects, as fields. Subtrees that are equal cost a
// comparison and no allocation.
type comparison struct {
	// changed are fields added or modified.
	changed, removed fieldpath.Set
	path             fieldpath.Path
}

func (d *comparison) same() bool { return d.changed.Empty() && d.removed.Empty() }

func (d *comparison) root(n *node, old, obj map[string]any, skip func(string) bool) {
	d.fields(n, old, obj, func(k string) bool {
		return k == "apiVersion" || k == "kind" || skip(k)
	})
}

// pair is a value before and after.
type pair struct {
	old, now       any
	hasOld, hasNow bool
}

func (d *comparison) value(n *node, p pair) {
	var inLeaf bool
	switch {
	case !p.hasNow:
		inLeaf = d.shaped(n, n.shape(p.old), p)
	case !p.hasOld || n.shape(p.old) == n.shape(p.now):
		inLeaf = d.shaped(n, n.shape(p.now), p)
	default:
		d.shaped(n, n.shape(p.old), p)
		inLeaf = d.shaped(n, n.shape(p.now), p)
	}
	if inLeaf {
		return
	}
	if !p.hasOld {
		d.changed.Insert(d.path)
	} else if !p.hasNow {
		d.removed.Insert(d.path)
	}
}

// shaped compares two values as one shape and reports whether they are a leaf in it.
func (d *comparison) shaped(n *node, sh shape, p pair) (inLeaf bool) {
	switch sh {
	case mapShape:
		om, _ := p.old.(map[string]any)
		nm, _ := p.now.(map[string]any)
		if !n.mapAtomic && (len(om) > 0 || len(nm) > 0) {
			d.fields(n, om, nm, nil)
			return false
		}
	case listShape:
		ol, _ := p.old.([]any)
		nl, _ := p.now.([]any)
		if n.associative && (len(ol) > 0 || len(nl) > 0) {
			d.items(n, ol, nl)
			return false
		}
	}
	switch {
	case !p.hasOld:
		d.changed.Insert(d.path)
	case !p.hasNow:
		d.removed.Insert(d.path)
	case !jsontree.Equal(p.old, p.now):
		d.changed.Insert(d.path)
	}
	return true
}

func (d *comparison) descend(pe fieldpath.PathElement, n *node, p pair) {
	d.path = append(d.path, pe)
	d.value(n, p)
	d.path = d.path[:len(d.path)-1]
}

func (d *comparison) fields(n *node, old, now map[string]any, skip func(string) bool) {
	inMetadata := len(d.path) == 1 && d.path[0].FieldName != nil && *d.path[0].FieldName == "metadata"
	skipped := func(k string) bool { return skip != nil && skip(k) || inMetadata && system(k) }
	for k, v := range now {
		o, ok := old[k]
		if ok && jsontree.Equal(o, v) || skipped(k) {
			continue
		}
		d.descend(fieldpath.FieldNameElement(k), n.field(k), pair{old: o, hasOld: ok, now: v, hasNow: true})
	}
	for k, o := range old {
		if _, ok := now[k]; !ok && !skipped(k) {
			d.descend(fieldpath.FieldNameElement(k), n.field(k), pair{old: o, hasOld: true})
		}
	}
}

func (d *comparison) items(n *node, old, now []any) {
	var e emitter
	type both struct{ old, now []any }
	byKey := make(map[string]*both, len(now))
	var order []string
	add := func(list []any, to func(*both) *[]any) {
		for _, v := range list {
			key, ok := e.itemKey(n, v)
			if !ok {
				continue
			}
			b := byKey[key]
			if b == nil {
				b = &both{}
				byKey[key] = b
				order = append(order, key)
			}
			*to(b) = append(*to(b), v)
		}
	}
	add(old, func(b *both) *[]any { return &b.old })
	add(now, func(b *both) *[]any { return &b.now })
	for _, key := range order {
		b := byKey[key]
		if len(b.old) == len(b.now) && jsontree.Equal(b.old, b.now) {
			continue
		}
		one := b.now
		if len(one) == 0 {
			one = b.old
		}
		pe := n.element(one[0])
		switch {
		case len(b.old) <= 1 && len(b.now) <= 1:
			d.descend(pe, n.listElem, single(b.old, b.now))
		case len(b.old) >= 2 && len(b.now) >= 2:
			d.mark(&d.changed, pe)
		case len(b.old) >= 2:
			if len(b.now) > 0 {
				d.descend(pe, n.listElem, single(nil, b.now))
			}
			d.mark(&d.removed, pe)
		default:
			if len(b.old) > 0 {
				d.descend(pe, n.listElem, single(b.old, nil))
			}
			d.mark(&d.changed, pe)
		}
	}
}

func (d *comparison) mark(s *fieldpath.Set, pe fieldpath.PathElement) {
	d.path = append(d.path, pe)
	s.Insert(d.path)
	d.path = d.path[:len(d.path)-1]
}

func single(old, now []any) pair {
	var p pair
	if len(old) > 0 {
		p.old, p.hasOld = old[0], true
	}
	if len(now) > 0 {
		p.now, p.hasNow = now[0], true
	}
	return p
}

// element returns the path element of an item that itemKey has accepted.
func (n *node) element(v any) fieldpath.PathElement {
	if len(n.keys) == 0 {
		return fieldpath.ValueElement(value.NewValueInterface(v))
	}
	m, _ := v.(map[string]any)
	fields := make(value.FieldList, 0, len(n.keys))
	for i, k := range n.keys {
		kv, ok := m[k]
		if !ok {
			if kv = n.keyDefaults[i]; kv == nil {
				continue
			}
		}
		fields = append(fields, value.Field{Name: k, Value: value.NewValueInterface(kv)})
	}
	fields.Sort()
	return fieldpath.PathElement{Key: &fields}
}
