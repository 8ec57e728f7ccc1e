package managedfields

import (
	"slices"
	"strconv"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

// emitter writes the set of fields that an object adds to what an empty object of its
// type has, as fieldsV1 JSON.
type emitter struct {
	b    []byte
	keys []string
	tmp  []byte
}

// system are the fields of metadata that nobody owns.
func system(key string) bool {
	switch key {
	case "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion":
		return true
	}
	return false
}

func (e *emitter) root(n *node, blank, obj map[string]any, skip func(string) bool) {
	e.b = append(e.b, '{')
	first := true
	keys := e.sorted(obj)
	for i := keys; i < len(e.keys); i++ {
		k := e.keys[i]
		if k == "apiVersion" || k == "kind" || skip(k) {
			continue
		}
		old, hasOld := blank[k]
		if m, ok := obj[k].(map[string]any); ok && k == "metadata" {
			oldMeta, _ := old.(map[string]any)
			start := e.open(&first, k)
			inner := true
			e.fields(n.field(k), oldMeta, m, &inner, system)
			e.close(&first, start, false, !inner)
			continue
		}
		e.field(n.field(k), k, old, hasOld, obj[k], &first)
	}
	e.keys = e.keys[:keys]
	e.b = append(e.b, '}')
}

func (e *emitter) sorted(m map[string]any) int {
	start := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	slices.Sort(e.keys[start:])
	return start
}

// open writes `"f:key":{` and returns where it began.
func (e *emitter) open(first *bool, key string) int {
	start := len(e.b)
	if !*first {
		e.b = append(e.b, ',')
	}
	// What AppendString puts around the key is taken apart for the prefix.
	e.b = append(e.b, `"f:`...)
	quote := len(e.b) - 1
	kept := e.b[quote]
	e.b = jsontree.AppendString(e.b[:quote], key)
	e.b[quote] = kept
	e.b = append(e.b, ':', '{')
	return start
}

// close ends what open began, or takes it back where nothing is owned below.
func (e *emitter) close(first *bool, start int, self, children bool) {
	if !self && !children {
		e.b = e.b[:start]
		return
	}
	*first = false
	e.b = append(e.b, '}')
}

func (e *emitter) field(n *node, key string, old any, hasOld bool, v any, first *bool) {
	start := e.open(first, key)
	self, children := e.value(n, old, hasOld, v)
	e.close(first, start, self, children)
}

// value writes what is owned below a value, after its own "." where the value itself and
// something below it are owned.
func (e *emitter) value(n *node, old any, hasOld bool, v any) (self, children bool) {
	sh := n.shape(v)
	atomic := true
	switch sh {
	case mapShape:
		om, _ := old.(map[string]any)
		m, _ := v.(map[string]any)
		atomic = n.mapAtomic || len(om) == 0 && len(m) == 0
	case listShape:
		ol, _ := old.([]any)
		l, _ := v.([]any)
		atomic = !n.associative || len(ol) == 0 && len(l) == 0
	}
	if atomic {
		return !hasOld || !jsontree.Equal(old, v), false
	}
	self = !hasOld
	mark, first := len(e.b), true
	if self {
		e.b = append(e.b, `".":{}`...)
		first = false
	}
	after := len(e.b)
	switch sh {
	case mapShape:
		om, _ := old.(map[string]any)
		m, _ := v.(map[string]any)
		e.fields(n, om, m, &first, nil)
	case listShape:
		l, _ := v.([]any)
		e.items(n, l, &first)
	}
	children = len(e.b) > after
	if self && !children {
		e.b = e.b[:mark]
	}
	return self, children
}

func (e *emitter) fields(n *node, old, m map[string]any, first *bool, skip func(string) bool) {
	start := e.sorted(m)
	for i := start; i < len(e.keys); i++ {
		k := e.keys[i]
		if skip != nil && skip(k) {
			continue
		}
		o, hasOld := old[k]
		e.field(n.field(k), k, o, hasOld, m[k], first)
	}
	e.keys = e.keys[:start]
}

// items writes the elements of an associative list. Blank objects have no elements, so
// all are new.
func (e *emitter) items(n *node, list []any, first *bool) {
	type item struct {
		key string
		v   any
	}
	items := make([]item, 0, len(list))
	for _, v := range list {
		if key, ok := e.itemKey(n, v); ok {
			items = append(items, item{key, v})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	for i := 0; i < len(items); i++ {
		duplicate := false
		for i+1 < len(items) && items[i+1].key == items[i].key {
			duplicate = true
			i++
		}
		if !*first {
			e.b = append(e.b, ',')
		}
		*first = false
		e.b = jsontree.AppendString(e.b, items[i].key)
		e.b = append(e.b, ':', '{')
		if !duplicate {
			e.value(n.listElem, nil, false, items[i].v)
		}
		e.b = append(e.b, '}')
	}
}

// itemKey returns the path element of a list's item in its serialized form.
func (e *emitter) itemKey(n *node, v any) (string, bool) {
	if len(n.keys) == 0 {
		switch v.(type) {
		case nil, map[string]any, []any:
			return "", false
		}
		return string(jsontree.Append(append(e.tmp[:0], "v:"...), v)), true
	}
	m, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	b := append(e.tmp[:0], "k:{"...)
	wrote := false
	for _, i := range n.keyOrder {
		kv, ok := m[n.keys[i]]
		if !ok {
			if kv = n.keyDefaults[i]; kv == nil {
				continue
			}
		}
		if wrote {
			b = append(b, ',')
		}
		wrote = true
		b = strconv.AppendQuote(b, n.keys[i])
		b = append(b, ':')
		b = jsontree.Append(b, kv)
	}
	b = append(b, '}')
	e.tmp = b
	return string(b), true
}
