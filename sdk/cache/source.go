package cache

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// object is what is kept of one object. It is never changed: a change makes another.
type object struct {
	key key
	raw string // JSON of the fields that somebody reads
}

type key struct{ namespace, name string }

// listener is told of changes, one after the other. Either of before and after may be nil.
type listener interface {
	changed(before, after *object)
}

// source is a watch, and what it has brought.
type source struct {
	cache *Cache
	scope scope

	// telling is held while listeners are told, so that a new one misses nothing and gets
	// nothing twice. It is taken before mu.
	telling   sync.Mutex
	listeners []listener

	mu      sync.RWMutex
	want    *fields // what the views read
	have    *fields // what the objects have; nil before the first
	objects map[key]*object
	names   map[string]string // namespaces, which many objects share
	again   context.CancelFunc
	synced  chan struct{} // closed when objects have what is wanted
}

func newSource(c *Cache, at scope) *source {
	return &source{
		cache: c, scope: at, want: &fields{}, objects: map[key]*object{}, names: map[string]string{}, synced: make(chan struct{}),
	}
}

// widen adds to the fields that are kept. Where objects lack them, they are asked for anew.
func (s *source) widen(f *fields) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.want.add(f) || s.have == nil {
		return
	}
	select {
	case <-s.synced:
		s.synced = make(chan struct{})
	default:
	}
	if s.again != nil {
		s.again()
	}
}

// listen adds a listener, which is told of what is there first.
func (s *source) listen(l listener) {
	s.telling.Lock()
	defer s.telling.Unlock()
	for _, o := range s.all() {
		l.changed(nil, o)
	}
	s.listeners = append(s.listeners, l)
}

func (s *source) all() []*object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.objects))
}

func (s *source) get(k key) *object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objects[k]
}

// whenSynced returns a channel that is closed when all objects have been seen with the fields
// that are wanted now.
func (s *source) whenSynced() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.synced
}

// keep makes an object of what a server sent.
func (s *source) keep(k key, src string, f *fields, buf *[]byte) (*object, error) {
	out, err := project((*buf)[:0], src, f)
	if err != nil {
		return nil, err
	}
	*buf = out
	ns, ok := s.names[k.namespace]
	if !ok {
		ns = string([]byte(k.namespace))
		s.names[ns] = ns
	}
	return &object{key: key{ns, string([]byte(k.name))}, raw: string(out)}, nil
}

// put takes an object in, or takes it out where after is nil, and tells who listens.
func (s *source) put(k key, after *object) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	before := s.objects[k]
	if after == nil {
		delete(s.objects, k)
	} else {
		s.objects[after.key] = after
	}
	s.mu.Unlock()
	s.tell(before, after)
}

// replace makes objects all that there is.
func (s *source) replace(objects map[key]*object, f *fields) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	before := s.objects
	s.objects, s.have = objects, f
	s.mu.Unlock()
	for k, o := range before {
		if objects[k] == nil {
			s.tell(o, nil)
		}
	}
	for k, o := range objects {
		s.tell(before[k], o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.want.clone().add(f) && !f.clone().add(s.want) {
		select {
		case <-s.synced:
		default:
			close(s.synced)
		}
	}
}

// tell is called with telling held.
func (s *source) tell(before, after *object) {
	if before == nil && after == nil || before != nil && after != nil && before.raw == after.raw {
		return
	}
	for _, l := range s.listeners {
		l.changed(before, after)
	}
}
