package fsm

import (
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// FirstRevision is that of an empty state: clients read 0 as "any".
const FirstRevision = 1

// State is where versions are kept on disk.
type State interface {
	// Load reads exactly the version of key that revision wrote. The error is ErrSealed where
	// that is sealed and can't be opened here.
	Load(key string, revision uint64) (value.Value, error)
	// Open makes the value that a sealed one holds. Whether it can does not change what is
	// stored.
	Open(key string, revision uint64, sealed value.Value) (value.Value, error)
	// Commit keeps records; meta describes the state before them.
	Commit(records []engine.Record, meta engine.Meta) error
	// SetDiscard allows versions older than the newest at revision to go.
	SetDiscard(revision uint64)
}

// Observer is told of changes once they are readable.
type Observer interface {
	Changed(changes []Change, revision uint64)
}

// Change is one accepted write.
type Change struct {
	index.Change
	// Value after the change; of a deletion the last one, with the deletion's revision. It is
	// nil where the object is sealed and could not be opened.
	Value value.Value
	// Prev is the value before, nil where there was none, or it could not be opened.
	Prev value.Value
	// Stored is what is kept on disk, where that is not Value itself but has it sealed.
	Stored value.Value
	// First is set in the last change of a transaction of several: the revision of its
	// first one. Between the two nobody may read.
	First uint64
	// Note is what the history says of a deletion.
	Note []byte
}

// Outcome of a write.
type Outcome uint8

// The outcomes.
const (
	// Done: the write was applied.
	Done Outcome = iota
	// Exists: it expected no object, and there is one.
	Exists
	// Conflict: it expected another revision.
	Conflict
	// NotFound: there is no object.
	NotFound
	// Withheld: nothing speaks against the write itself, but against another one of its
	// transaction.
	Withheld
	// Repeated: its transaction has another write of the same object before it.
	Repeated
)

// Result answers one write.
type Result struct {
	Outcome  Outcome
	Revision uint64
	// Value as stored, where Done; nil of what was only checked.
	Value value.Value
	// Item is the current object of Exists and Conflict.
	Item *index.Item
}

// Response answers one entry: a result per write in it, or the error that kept the entry
// from being applied.
type Response struct {
	Results []Result
	Err     error
}

// Entry is one committed log entry. Data is nil for those that are not commands.
type Entry struct {
	Index uint64
	Data  []byte
}

// Machine applies entries. Apply, Restored and Meta are for one goroutine.
type Machine struct {
	index    *index.Index
	state    State
	observer Observer

	// meta is the state now, saved what was complete on disk before the last commit.
	meta, saved engine.Meta
	// failed stops the machine: applying further entries over a hole would make this
	// server differ from the others.
	failed error

	// pending are the changes of the entries being applied, newest finds the last one
	// of a key among them.
	pending []Change
	newest  map[string]int
}

// New makes a machine for a state that is at meta and whose index is loaded.
func New(x *index.Index, s State, o Observer, meta engine.Meta) *Machine {
	m := &Machine{index: x, state: s, observer: o, newest: map[string]int{}}
	m.Restored(meta)
	return m
}

// Restored says that index and state were replaced and are now at meta.
func (m *Machine) Restored(meta engine.Meta) {
	meta.Revision = max(meta.Revision, FirstRevision)
	_, meta.Digest = m.index.State()
	m.meta, m.saved, m.failed = meta, meta, nil
}

// Meta is the state as applied, or the error that stopped the machine.
func (m *Machine) Meta() (engine.Meta, error) { return m.meta, m.failed }

// Apply applies entries in order, all of their changes at once.
func (m *Machine) Apply(entries []Entry) []Response {
	responses := make([]Response, len(entries))
	next := m.meta
	for i, e := range entries {
		if e.Index <= next.Applied {
			continue // Replayed after a restart; its effects are there.
		}
		if m.failed == nil && e.Data != nil {
			responses[i].Results, m.failed = m.applyEntry(e, &next)
		}
		if m.failed != nil {
			break
		}
		next.Applied = e.Index
	}
	if m.failed == nil {
		m.failed = m.commit(next)
	}
	if m.failed != nil {
		for i := range responses {
			responses[i] = Response{Err: m.failed}
		}
	}
	m.pending = m.pending[:0]
	clear(m.newest)
	return responses
}

func (m *Machine) applyEntry(e Entry, next *engine.Meta) ([]Result, error) {
	cmd, err := command.Parse(e.Data)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if cmd.Kind == command.Compact {
		r, err := cmd.Revision()
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		next.Horizon = max(next.Horizon, min(r, next.Revision))
		return nil, nil
	}
	if cmd.Kind == command.Transaction {
		results, err := m.applyTransaction(&cmd, next)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		return results, nil
	}
	var (
		results []Result
		w       command.Write
	)
	for cmd.More() {
		if err := cmd.Next(&w); err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		r, err := m.applyWrite(&w, next)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// applyWrite decides one write against the state with all changes before it.
func (m *Machine) applyWrite(w *command.Write, next *engine.Meta) (Result, error) {
	old := m.find(w.Key)
	if r, rejected := guard(w, old); rejected {
		return r, nil
	}
	c := Change{Change: index.Change{Key: w.Key, Revision: next.Revision + 1, Old: old}}
	if old != nil {
		c.Key = old.Key // One copy of the key for all versions.
		if c.Prev = old.Value(); c.Prev == nil {
			var err error
			if c.Prev, err = m.state.Load(old.Key, old.Revision); err != nil && !errors.Is(err, engine.ErrSealed) {
				return Result{}, fmt.Errorf("the state before the write of %s: %w", w.Key, err)
			}
		}
	}
	switch {
	case w.Delete:
		c.Note = w.Note
		c.Value = c.Prev.WithRevision(old.Revision, c.Revision)
	case w.Sealed:
		c.Stored = value.MakeSealed(w.Data, w.RevisionAt)
		// Who can't open it stores it all the same, as all others do.
		c.Value, _ = m.state.Open(w.Key, c.Revision, c.Stored)
		c.New = index.NewItem(c.Key, c.Revision, c.Value)
	default:
		c.Value = value.Make(w.Data, w.RevisionAt, c.Revision)
		c.New = index.NewItem(c.Key, c.Revision, c.Value)
	}
	next.Revision = c.Revision
	m.newest[c.Key] = len(m.pending)
	m.pending = append(m.pending, c)
	return Result{Revision: c.Revision, Value: c.Value}, nil
}

func (m *Machine) find(key string) *index.Item {
	if i, ok := m.newest[key]; ok {
		return m.pending[i].New
	}
	return m.index.Get(key)
}

// guard checks what a write expects.
func guard(w *command.Write, old *index.Item) (Result, bool) {
	switch {
	case old == nil:
		if w.Delete || w.Expect > 0 {
			return Result{Outcome: NotFound}, true
		}
	case w.Expect == 0:
		return Result{Outcome: Exists, Revision: old.Revision, Item: old}, true
	case w.Expect > 0 && uint64(w.Expect) != old.Revision:
		return Result{Outcome: Conflict, Revision: old.Revision, Item: old}, true
	}
	return Result{}, false
}

// commit writes the pending changes and then shows them.
func (m *Machine) commit(next engine.Meta) error {
	if len(m.pending) > 0 {
		records := make([]engine.Record, len(m.pending))
		for i := range m.pending {
			c := &m.pending[i]
			records[i] = engine.Record{Key: c.Key, Revision: c.Revision, First: c.First, Note: c.Note}
			switch {
			case c.New == nil:
			case c.Stored != nil:
				records[i].Value = c.Stored
			default:
				records[i].Value = c.Value
			}
		}
		if err := m.state.Commit(records, m.saved); err != nil {
			return errors.Join(errStopped, err)
		}
		changes := make([]index.Change, len(m.pending))
		for i := range m.pending {
			changes[i] = m.pending[i].Change
		}
		m.index.Install(changes, next.Revision)
	}
	_, next.Digest = m.index.State()
	if next.Horizon != m.meta.Horizon {
		// Nothing goes that the metadata on disk still says is there.
		if err := m.state.Commit(nil, next); err != nil {
			return errors.Join(errStopped, err)
		}
		m.state.SetDiscard(next.Horizon)
	}
	m.saved, m.meta = next, next
	m.observer.Changed(m.pending, next.Revision)
	return nil
}

// errStopped says what a failed commit means.
var errStopped = errors.New("the state could not be written and stays as it was; restart the server when the cause is gone")
