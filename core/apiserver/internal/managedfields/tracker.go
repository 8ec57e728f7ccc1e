package managedfields

import (
	"fmt"
	"strings"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Type tracks the fields of one type's objects. It is safe for concurrent use.
type Type struct {
	root     *node
	typed    typed.ParseableType
	blank    map[string]any
	status   bool
	emitters sync.Pool
}

// Options describe a type to [NewType].
type Options struct {
	// Blank is what an object without any field set looks like: {} for types that come as
	// data, the zero value of the Go type for built-in ones.
	Blank map[string]any
	// Status says that the type has a status subresource, so that a write of the object
	// does not own its status and a write of the status nothing else.
	Status bool
}

// NewType prepares tracking for a type.
func NewType(p typed.ParseableType, o Options) (*Type, error) {
	root, err := buildRoot(p)
	if err != nil {
		return nil, fmt.Errorf("managed fields: %w", err)
	}
	t := &Type{root: root, typed: p, blank: o.Blank, status: o.Status}
	t.emitters.New = func() any { return &emitter{b: make([]byte, 0, 2048)} }
	return t, nil
}

// Writer is who makes a change.
type Writer struct {
	// Manager is the fieldManager of the request or the program named by its user agent.
	Manager string
	// APIVersion in which the object was sent.
	APIVersion  string
	Subresource string
	// Time of the change in RFC 3339.
	Time string
}

func (w *Writer) entry(op string) entry {
	m := w.Manager
	if m == "" {
		m = "unknown"
	}
	return entry{manager: m, operation: op, apiVersion: w.APIVersion, subresource: w.Subresource, time: w.Time}
}

// skip returns which fields at the root a write does not own.
func (t *Type) skip(subresource string) func(string) bool {
	switch {
	case t.status && subresource == "":
		return func(k string) bool { return k == "status" }
	case subresource == "status":
		return func(k string) bool { return k == "spec" }
	}
	return func(string) bool { return false }
}

// Create returns the managedFields of a new object: the client's own, if it sent any,
// and an entry for all that w set. obj is without managedFields.
func (t *Type) Create(obj map[string]any, sent []byte, w Writer) []byte {
	if base, err := parse(sent); err == nil && len(base) > 0 {
		if data, err := t.update(t.blank, obj, base, w); err == nil {
			return data
		}
	}
	e := t.emitters.Get().(*emitter)
	defer t.emitters.Put(e)
	e.b, e.keys = e.b[:0], e.keys[:0]
	e.root(t.root, t.blank, obj, t.skip(w.Subresource))
	if len(e.b) <= 2 {
		return nil
	}
	own := w.entry(opUpdate)
	own.fields = string(e.b)
	return encode([]entry{own})
}

// Update returns the managedFields of an object that w changes from old to obj. live are
// those of the stored object and sent those that came with the request, which count
// instead where they say anything; for subresources they do not count.
func (t *Type) Update(old, obj map[string]any, live, sent []byte, w Writer) ([]byte, error) {
	var base []entry
	var err error
	kept := live
	switch {
	case w.Subresource == "" && isReset(sent):
		kept = nil
	case w.Subresource == "" && len(sent) > 0 && string(sent) != string(live):
		if base, err = parse(sent); err == nil && len(base) > 0 {
			kept = sent
			break
		}
		fallthrough
	default:
		if base, err = parse(live); err != nil {
			base, kept = nil, nil
		}
	}
	if len(base) == 0 {
		// Objects that are not tracked stay so until something is applied to them.
		return kept, nil
	}
	data, err := t.update(old, obj, base, w)
	if err != nil {
		return nil, fmt.Errorf("update managed fields: %w", err)
	}
	return data, nil
}

func (t *Type) update(old, obj map[string]any, base []entry, w Writer) ([]byte, error) {
	var d comparison
	d.root(t.root, old, obj, t.skip(w.Subresource))
	if d.same() {
		return encode(base), nil
	}
	own := w.entry(opUpdate)
	ownAt := -1
	kept := base[:0]
	for _, e := range base {
		s, err := set(e.fields)
		if err != nil {
			return nil, err
		}
		lost := s.Intersection(&d.changed).Union(s.Intersection(&d.removed))
		if !lost.Empty() {
			if s = s.Difference(lost); s.Empty() && !e.is(&own) {
				continue
			}
			if e.fields, err = text(s); err != nil {
				return nil, err
			}
		}
		if e.is(&own) {
			ownAt = len(kept)
		}
		kept = append(kept, e)
	}
	if mine := &d.changed; !mine.Empty() {
		fields, err := text(mine)
		if err != nil {
			return nil, err
		}
		if ownAt < 0 {
			kept = append(kept, own)
			ownAt = len(kept) - 1
		} else if fields, err = join(kept[ownAt].fields, fields, mine); err != nil {
			return nil, err
		}
		kept[ownAt].fields, kept[ownAt].time = fields, w.Time
	} else if ownAt >= 0 && kept[ownAt].fields == "{}" {
		kept = append(kept[:ownAt], kept[ownAt+1:]...)
	}
	kept, err := capUpdates(kept)
	if err != nil {
		return nil, err
	}
	return encode(kept), nil
}

// maxUpdateManagers is how many updating managers an object names; the oldest beyond are
// one entry, as upstream has it.
const maxUpdateManagers = 10

func capUpdates(entries []entry) ([]entry, error) {
	updates := 0
	for i := range entries {
		if entries[i].operation == opUpdate {
			updates++
		}
	}
	for updates > maxUpdateManagers {
		oldest, next := -1, -1
		for i := range entries {
			e := &entries[i]
			if e.operation != opUpdate {
				continue
			}
			if oldest < 0 || e.time < entries[oldest].time {
				oldest = i
			}
		}
		for i := range entries {
			e := &entries[i]
			if i == oldest || e.operation != opUpdate || e.apiVersion != entries[oldest].apiVersion {
				continue
			}
			if next < 0 || e.manager == ancient || entries[next].manager != ancient && e.time < entries[next].time {
				next = i
			}
		}
		if next < 0 {
			return entries, nil
		}
		a, err := set(entries[oldest].fields)
		if err != nil {
			return nil, err
		}
		b, err := set(entries[next].fields)
		if err != nil {
			return nil, err
		}
		fields, err := text(a.Union(b))
		if err != nil {
			return nil, err
		}
		entries[next].manager, entries[next].subresource, entries[next].fields = ancient, "", fields
		entries = append(entries[:oldest], entries[oldest+1:]...)
		updates--
	}
	return entries, nil
}

const ancient = "ancient-changes"

// text returns a set as fieldsV1.
func text(s *fieldpath.Set) (string, error) {
	b, err := s.ToJSON()
	return string(b), err
}

// sets keeps parsed sets: objects of one origin have the same text. Sets in it are
// shared, which is sound because the operations used on them make new ones.
var sets = struct {
	sync.Mutex
	m     map[string]*fieldpath.Set
	bytes int
}{m: map[string]*fieldpath.Set{}}

// maxSetBytes bounds the text of the parsed sets kept; a set takes a few times its text.
const maxSetBytes = 256 << 10

func set(fields string) (*fieldpath.Set, error) {
	sets.Lock()
	s, ok := sets.m[fields]
	sets.Unlock()
	if ok {
		return s, nil
	}
	s = &fieldpath.Set{}
	if err := s.FromJSON(strings.NewReader(fields)); err != nil {
		return nil, fmt.Errorf("fieldsV1: %w", err)
	}
	sets.Lock()
	defer sets.Unlock()
	if sets.bytes+len(fields) > maxSetBytes {
		clear(sets.m)
		sets.bytes = 0
	}
	if _, ok := sets.m[fields]; !ok {
		sets.m[strings.Clone(fields)] = s
		sets.bytes += len(fields)
	}
	return s, nil
}
