package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Object is any Kubernetes object. Once it is in a store it must not be changed.
type Object interface {
	metav1.Object
	runtime.Object
}

// Type describes the objects of a store.
type Type struct {
	// Kind, and the plural and singular by which clients ask for it. The singular is the kind
	// in lower case where empty.
	Kind, Plural, Singular string
	ShortNames, Categories []string
	Namespaced             bool
	// Schema is the OpenAPI v3 schema of the kind, as JSON, for kubectl explain; nil for none.
	Schema []byte
	// Columns of tables after the name, and what Cells gives for them.
	Columns []metav1.TableColumnDefinition
	Cells   func(Object) []any
	// Delete deletes an object where it comes from, and from the store if that is to show at
	// once; nil where objects can't be deleted. The request's context says who asks. A
	// *errors.StatusError is answered as it is.
	Delete func(ctx context.Context, o Object) error
}

// history is how many changes watches can begin before.
const history = 1024

// Store holds the objects of one type. Its methods may be called at the same time.
type Store struct {
	t          Type
	apiVersion string // set by Handler

	mu       sync.Mutex
	revision uint64
	// oldest is the revision before the first of the events that are remembered.
	oldest  uint64
	items   map[string]*item
	events  []event
	changed chan struct{}
}

// item is an object as it is served.
type item struct {
	key    string
	object Object
	// source is the object as it was given, without kind and revision.
	source   []byte
	revision uint64
}

// event is one change. before is nil for an object that is new, after for one that is gone.
type event struct {
	revision      uint64
	before, after *item
}

// NewStore returns an empty store. Revisions grow also across restarts of the process, so that a
// client which comes back is told to list again.
func NewStore(t Type) *Store {
	if t.Singular == "" {
		t.Singular = strings.ToLower(t.Kind)
	}
	now := uint64(time.Now().UnixMicro()) //nolint:gosec // after 1970
	return &Store{t: t, revision: now, oldest: now, items: map[string]*item{}, changed: make(chan struct{})}
}

func keyOf(namespace, name string) string { return namespace + "/" + name }

// Set adds an object or puts it in the place of the one of its name. One that is the same as
// before is no change.
func (s *Store) Set(o Object) error {
	it, err := s.prepare(o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(it)
	s.tell()
	return nil
}

// Remove removes an object; one that is not there is no change.
func (s *Store) Remove(namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(keyOf(namespace, name))
	s.tell()
}

// Replace makes the store hold exactly these objects. Nobody sees a part of it.
func (s *Store) Replace(all []Object) error {
	items := make([]*item, 0, len(all))
	keep := make(map[string]bool, len(all))
	for _, o := range all {
		it, err := s.prepare(o)
		if err != nil {
			return err
		}
		items, keep[it.key] = append(items, it), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.items {
		if !keep[key] {
			s.drop(key)
		}
	}
	for _, it := range items {
		s.put(it)
	}
	s.tell()
	return nil
}

// Get returns an object, or nil.
func (s *Store) Get(namespace, name string) Object {
	if it := s.get(namespace, name); it != nil {
		return it.object
	}
	return nil
}

func (s *Store) prepare(o Object) (*item, error) {
	if o.GetName() == "" || s.t.Namespaced != (o.GetNamespace() != "") {
		return nil, fmt.Errorf("a %s without a name, or with a namespace where there is none: %q/%q", s.t.Kind, o.GetNamespace(), o.GetName())
	}
	source, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.t.Kind, o.GetName(), err)
	}
	return &item{key: keyOf(o.GetNamespace(), o.GetName()), object: o, source: source}, nil
}

// put takes in an item. The caller holds the lock.
func (s *Store) put(it *item) {
	old := s.items[it.key]
	if old != nil && bytes.Equal(old.source, it.source) {
		return
	}
	s.revision++
	it.revision = s.revision
	s.items[it.key] = it
	s.remember(event{revision: s.revision, before: old, after: it})
}

func (s *Store) drop(key string) {
	old := s.items[key]
	if old == nil {
		return
	}
	s.revision++
	delete(s.items, key)
	gone := *old // its revision is that of its end
	gone.revision = s.revision
	s.remember(event{revision: s.revision, before: &gone})
}

func (s *Store) remember(e event) {
	if len(s.events) == history {
		s.oldest = s.events[0].revision
		s.events = append(s.events[:0:0], s.events[1:]...)
	}
	s.events = append(s.events, e)
}

func (s *Store) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) get(namespace, name string) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[keyOf(namespace, name)]
}

// list returns what a filter lets through, by namespace and name, and the store's revision.
func (s *Store) list(f filter) ([]*item, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*item
	for _, it := range s.items {
		if f.matches(it) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return strings.Compare(a.key, b.key) })
	return out, s.revision
}

// since returns the events after a revision, the revision up to which that is all, and what is
// closed at the next change; ok is false where the store does not remember so far back.
func (s *Store) since(revision uint64) (events []event, now uint64, changed <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision < s.oldest || revision > s.revision {
		return nil, s.revision, s.changed, false
	}
	i, _ := slices.BinarySearchFunc(s.events, revision+1, func(e event, r uint64) int {
		switch {
		case e.revision < r:
			return -1
		case e.revision > r:
			return 1
		}
		return 0
	})
	return slices.Clone(s.events[i:]), s.revision, s.changed, true
}

// seen returns what an event is for who looks through a filter.
func (f filter) seen(e event) (watch.EventType, *item) {
	was, is := e.before != nil && f.matches(e.before), e.after != nil && f.matches(e.after)
	switch {
	case was && is:
		return watch.Modified, e.after
	case is:
		return watch.Added, e.after
	case was && e.after != nil:
		gone := *e.before // it leaves the selection at this revision
		gone.revision = e.revision
		return watch.Deleted, &gone
	case was:
		return watch.Deleted, e.before
	}
	return "", nil
}

// encode returns the object as JSON, with kind and revision.
func (s *Store) encode(it *item) (json.RawMessage, error) {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(it.source))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	meta, _ := tree["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		tree["metadata"] = meta
	}
	meta["resourceVersion"] = strconv.FormatUint(it.revision, 10)
	if meta["creationTimestamp"] == nil {
		delete(meta, "creationTimestamp")
	}
	tree["apiVersion"], tree["kind"] = s.apiVersion, s.t.Kind
	return json.Marshal(tree)
}
