package cache

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fields is a set of the fields of an object: a tree by their names. Lists have no level of
// their own: the fields of their items are meant.
type fields struct {
	// all of what is below belongs to the set.
	all   bool
	below map[string]*fields
}

func (f *fields) child(name string) *fields {
	if f.below == nil {
		f.below = map[string]*fields{}
	}
	c := f.below[name]
	if c == nil {
		c = &fields{}
		f.below[name] = c
	}
	return c
}

// add makes f the union of both sets and reports whether it has grown.
func (f *fields) add(g *fields) (grown bool) {
	if f.all {
		return false
	}
	if g.all {
		f.all, f.below = true, nil
		return true
	}
	for name, sub := range g.below {
		if f.below[name] == nil {
			grown = true
		}
		if f.child(name).add(sub) {
			grown = true
		}
	}
	return grown
}

// clone is a copy that later unions do not change.
func (f *fields) clone() *fields {
	out := &fields{}
	out.add(f)
	return out
}

// identity is what is known of every object.
func identity() *fields {
	f := &fields{}
	f.child("metadata").child("name").all = true
	f.child("metadata").child("namespace").all = true
	return f
}

// parseFields reads paths such as "spec.nodeName"; all of what a path leads to belongs to
// the set. A dot within a name is written "\.".
func parseFields(paths []string) (*fields, error) {
	f := identity()
	for _, path := range paths {
		at := f
		for part := range strings.SplitSeq(strings.ReplaceAll(path, `\.`, "\x00"), ".") {
			if part == "" {
				return nil, fmt.Errorf("field %q: an empty name", path)
			}
			at = at.child(strings.ReplaceAll(part, "\x00", "."))
		}
		at.all, at.below = true, nil
	}
	return f, nil
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	objectMeta  = reflect.TypeFor[metav1.ObjectMeta]()
)

// fieldsOf are the fields that JSON is decoded from into values of a type.
func fieldsOf(t reflect.Type) *fields {
	f := identity()
	f.add(ofType(t, nil))
	return f
}

func ofType(t reflect.Type, above []reflect.Type) *fields {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return ofType(t.Elem(), above)
	case reflect.Struct:
	default:
		return &fields{all: true}
	}
	for _, a := range above {
		if a == t {
			return &fields{all: true} // it contains itself, to any depth
		}
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return &fields{all: true} // only it knows what it reads
	}
	above = append(above, t)
	f := &fields{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-", !field.IsExported() && !field.Anonymous:
			continue
		case t == objectMeta && field.Name == "ManagedFields":
			continue // most of an object, and nobody's business
		case name == "" && field.Anonymous:
			f.add(ofType(field.Type, above))
			continue
		case name == "":
			name = lowerFirst(field.Name)
		}
		f.child(name).add(ofType(field.Type, above))
	}
	return f
}

// lowerFirst is the name of a field without a tag, as Kubernetes' types have them: nodeName of
// NodeName, uid of UID, ipFamily of IPFamily.
func lowerFirst(name string) string {
	upper := 0
	for upper < len(name) && name[upper] >= 'A' && name[upper] <= 'Z' {
		upper++
	}
	if upper > 1 && upper < len(name) {
		upper-- // the last begins the next word
	}
	return strings.ToLower(name[:upper]) + name[upper:]
}
