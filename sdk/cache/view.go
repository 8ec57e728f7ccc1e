package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"sync"

	kjson "sigs.k8s.io/json"
)

// Objects is a view of a cache: objects as values of a Go type that has what is read of them.
// Values are decoded when they are asked for, and are the caller's.
type Objects[T any] struct {
	source *source
	fields *fields
}

// View makes a view. Views of the same objects share one watch.
func View[T any](c *Cache, q Query) (*Objects[T], error) {
	f := fieldsOf(reflect.TypeFor[T]())
	if len(q.Fields) > 0 {
		var err error
		if f, err = parseFields(q.Fields); err != nil {
			return nil, fmt.Errorf("cache: view of %s: %w", q.Resource.GroupResource(), err)
		}
	}
	if q.Resource.Resource == "" || q.Resource.Version == "" {
		return nil, fmt.Errorf("cache: view of %q: a resource and its version are needed", q.Resource)
	}
	return &Objects[T]{source: c.source(q, f), fields: f}, nil
}

// WaitSynced returns when all objects have been seen.
func (v *Objects[T]) WaitSynced(ctx context.Context) error {
	select {
	case <-v.source.whenSynced():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cache: %s have not been seen yet: %w", v.source.scope.resource.GroupResource(), ctx.Err())
	}
}

// Synced reports whether all objects have been seen.
func (v *Objects[T]) Synced() bool {
	select {
	case <-v.source.whenSynced():
		return true
	default:
		return false
	}
}

// Get returns an object; nil where there is none. The namespace is empty for objects of the
// cluster.
func (v *Objects[T]) Get(namespace, name string) (*T, error) {
	o := v.source.get(key{namespace, name})
	if o == nil {
		return nil, nil
	}
	return decode[T](o)
}

// All returns the objects of a namespace, in no order; empty for all namespaces. One that does
// not fit the type is left out; Get says why.
func (v *Objects[T]) All(namespace string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, o := range v.source.all() {
			if namespace != "" && o.key.namespace != namespace {
				continue
			}
			if t, err := decode[T](o); err == nil && !yield(t) {
				return
			}
		}
	}
}

// Len is the number of objects.
func (v *Objects[T]) Len() int {
	v.source.mu.RLock()
	defer v.source.mu.RUnlock()
	return len(v.source.objects)
}

// decode reads an object as clients of Kubernetes do, but for case: a type without tags will do.
func decode[T any](o *object) (*T, error) {
	t := new(T)
	var err error
	if _, tagged := any(t).(interface{ DeepCopyInto(*T) }); tagged {
		err = kjson.UnmarshalCaseSensitivePreserveInts([]byte(o.raw), t)
	} else {
		err = json.Unmarshal([]byte(o.raw), t)
	}
	if err != nil {
		return nil, fmt.Errorf("cache: %s/%s: %w", o.key.namespace, o.key.name, err)
	}
	return t, nil
}

// Handler is told of changes, one after the other, by the goroutine that reads the watch: its
// functions put something into a queue and return. Any may be nil. Values are shared by the
// handlers of a view and must not be changed.
type Handler[T any] struct {
	Add    func(*T)
	Update func(before, after *T)
	Delete func(*T)
}

// Handle tells a handler of all objects that are there, and of changes from now on: of those that
// change what the view reads.
func (v *Objects[T]) Handle(h Handler[T]) {
	v.source.listen(&telling[T]{fields: v.fields, handler: h, resource: v.source.scope.resource.String(), warn: v.source.cache.log.Warn})
}

type telling[T any] struct {
	fields   *fields
	handler  Handler[T]
	resource string
	warn     func(string, ...any)
}

func (l *telling[T]) changed(before, after *object) {
	if before != nil && after != nil {
		// What differs may be what only others read.
		b, errB := project(nil, before.raw, l.fields)
		a, errA := project(nil, after.raw, l.fields)
		if errA == nil && errB == nil && string(a) == string(b) {
			return
		}
	}
	var old, now *T
	var err error
	if before != nil {
		if old, err = decode[T](before); err != nil {
			old = nil // it was never told of either
		}
	}
	if after != nil {
		if now, err = decode[T](after); err != nil {
			l.warn("an object does not fit the type that reads it", "resource", l.resource, "error", err)
		}
	}
	switch h := l.handler; {
	case old == nil && now != nil && h.Add != nil:
		h.Add(now)
	case old != nil && now != nil && h.Update != nil:
		h.Update(old, now)
	case old != nil && now == nil && h.Delete != nil:
		h.Delete(old)
	}
}

// Index finds objects by values that a function names of each.
type Index[T any] struct {
	values func(*T) []string

	mu      sync.RWMutex
	byValue map[string]map[key]*object
}

// Index makes an index, which follows the view.
func (v *Objects[T]) Index(values func(*T) []string) *Index[T] {
	i := &Index[T]{values: values, byValue: map[string]map[key]*object{}}
	v.source.listen(i)
	return i
}

// Get returns the objects with a value, in no order.
func (i *Index[T]) Get(value string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		i.mu.RLock()
		found := make([]*object, 0, len(i.byValue[value]))
		for _, o := range i.byValue[value] {
			found = append(found, o)
		}
		i.mu.RUnlock()
		for _, o := range found {
			if t, err := decode[T](o); err == nil && !yield(t) {
				return
			}
		}
	}
}

func (i *Index[T]) changed(before, after *object) {
	was, is := i.of(before), i.of(after)
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, value := range was {
		delete(i.byValue[value], before.key)
		if len(i.byValue[value]) == 0 {
			delete(i.byValue, value)
		}
	}
	for _, value := range is {
		if i.byValue[value] == nil {
			i.byValue[value] = map[key]*object{}
		}
		i.byValue[value][after.key] = after
	}
}

func (i *Index[T]) of(o *object) []string {
	if o == nil {
		return nil
	}
	t, err := decode[T](o)
	if err != nil {
		return nil
	}
	return i.values(t)
}
