package oidc

import (
	"encoding/json"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiserver/pkg/cel"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// object is a map for CEL expressions in which fields are also found by their escaped names
// ("example__dot__com__slash__role"), at any depth, since an expression can't write others
// after a dot.
type object struct{ traits.Mapper }

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	v, ok := o.Mapper.Find(unescaped(key))
	return wrap(v), ok
}

// Get implements traits.Indexer.
func (o *object) Get(key ref.Val) ref.Val { return wrap(o.Mapper.Get(unescaped(key))) }

// Contains implements traits.Container.
func (o *object) Contains(key ref.Val) ref.Val { return o.Mapper.Contains(unescaped(key)) }

// list has objects in it.
type list struct{ traits.Lister }

// Get implements traits.Indexer.
func (l *list) Get(index ref.Val) ref.Val { return wrap(l.Lister.Get(index)) }

// Iterator implements traits.Iterable.
func (l *list) Iterator() traits.Iterator { return &iterator{l.Lister.Iterator()} }

type iterator struct{ traits.Iterator }

// Next implements traits.Iterator.
func (i *iterator) Next() ref.Val { return wrap(i.Iterator.Next()) }

func wrap(v ref.Val) ref.Val {
	switch v := v.(type) {
	case *object, *list:
		return v
	case traits.Mapper:
		return &object{v}
	case traits.Lister:
		return &list{v}
	}
	return v
}

func unescaped(key ref.Val) ref.Val {
	s, ok := key.(types.String)
	if !ok {
		return key
	}
	if name, ok := cel.Unescape(string(s)); ok {
		return types.String(name)
	}
	return key
}

func objectOf(m map[string]any) *object {
	return &object{types.DefaultTypeAdapter.NativeToValue(m).(traits.Mapper)} // a map of strings is a mapper
}

// value is the claims as expressions see them.
func (c claims) value() *object {
	m := make(map[string]any, len(c))
	for name, raw := range c {
		var v any
		if json.Unmarshal(raw, &v) == nil { // it was JSON as a whole
			m[name] = v
		}
	}
	return objectOf(m)
}

// userValue is a user as expressions see it.
func userValue(u *resource.User) *object {
	groups := u.Groups
	if groups == nil {
		groups = []string{}
	}
	extra := u.Extra
	if extra == nil {
		extra = map[string][]string{}
	}
	return objectOf(map[string]any{"username": u.Name, "uid": u.UID, "groups": groups, "extra": extra})
}
