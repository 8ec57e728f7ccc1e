package fsm_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/value"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A run opens and closes states on disk: a few are enough for every day.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("25")
	}
	os.Exit(m.Run())
}

// server is a state machine with a real state on disk.
type server struct {
	t       *rapid.T
	dir     string
	engine  *engine.Engine
	index   *index.Index
	machine *fsm.Machine
	cache   int64
	// records is what the last commit was asked to keep.
	records []engine.Record
	events  []string
}

func newServer(t *rapid.T, cache int64) *server {
	dir, err := os.MkdirTemp("", "fsm")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, cache: cache}
	s.open()
	return s
}

func (s *server) open() {
	var err error
	if s.engine, err = engine.Open(s.dir, slog.New(slog.DiscardHandler)); err != nil {
		s.t.Fatal(err)
	}
	meta, err := s.engine.Meta()
	if err != nil {
		s.t.Fatal(err)
	}
	meta.Revision = max(meta.Revision, fsm.FirstRevision)
	s.index = index.New(s.cache)
	err = s.engine.LoadNewest(meta.Revision, func(n engine.Newest) error {
		if n.Deleted {
			return nil
		}
		s.index.Install([]index.Change{{Key: n.Key, Revision: n.Revision, New: index.NewItem(n.Key, n.Revision, nil)}}, meta.Revision)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.index.Install(nil, meta.Revision)
	s.machine = fsm.New(s.index, s, s, meta)
}

func (s *server) close() {
	if err := s.engine.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) Open(key string, revision uint64, sealed value.Value) (value.Value, error) {
	return s.engine.Open(key, revision, sealed)
}

func (s *server) Load(key string, revision uint64) (value.Value, error) {
	return s.engine.Load(key, revision)
}
func (s *server) SetDiscard(uint64) {}
func (s *server) Commit(records []engine.Record, meta engine.Meta) error {
	s.records = append([]engine.Record(nil), records...)
	return s.engine.Commit(records, meta)
}

func (s *server) Changed(changes []fsm.Change, _ uint64) {
	for _, c := range changes {
		s.events = append(s.events, fmt.Sprintf("%s@%d %t %q %q", c.Key, c.Revision, c.New == nil, c.Value, c.Prev))
	}
}

// contents is everything that can be read.
func (s *server) contents() string {
	var b strings.Builder
	for _, bucket := range []string{"pods/", "nodes/"} {
		s.index.View(bucket).Ascend(bucket, "", func(it *index.Item) bool {
			v := it.Value()
			if v == nil {
				var err error
				if v, err = s.engine.Load(it.Key, it.Revision); err != nil {
					s.t.Fatal(err)
				}
			}
			fmt.Fprintf(&b, "%s@%d %q\n", it.Key, it.Revision, v)
			return true
		})
	}
	return fmt.Sprint(b.String(), s.index.Revision())
}

func drawEntries(t *rapid.T) []fsm.Entry {
	var entries []fsm.Entry
	for i := range rapid.IntRange(1, 25).Draw(t, "entries") {
		e := fsm.Entry{Index: uint64(i + 2)}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0: // Not a command.
		case 1:
			e.Data = command.AppendCompact(nil, uint64(rapid.IntRange(0, 30).Draw(t, "horizon")))
		default:
			e.Data = command.BeginWrites(nil)
			together := rapid.IntRange(0, 2).Draw(t, "together") == 0
			if together {
				e.Data = command.BeginTransaction(nil)
			}
			for range rapid.IntRange(1, 6).Draw(t, "writes") {
				w := command.Write{
					Key:        rapid.SampledFrom([]string{"pods/a/x", "pods/a/y", "nodes//n"}).Draw(t, "key"),
					Delete:     rapid.IntRange(0, 3).Draw(t, "delete") == 0,
					Expect:     rapid.SampledFrom([]int64{-1, -1, 0, 2, 3, 5, 8}).Draw(t, "expect"),
					RevisionAt: 1,
				}
				if together && rapid.IntRange(0, 4).Draw(t, "check") == 0 {
					w.Check, w.Delete = true, false
				} else if !w.Delete {
					w.Data = []byte(rapid.StringMatching("[a-z]{1,9}").Draw(t, "data"))
				}
				e.Data = w.Append(e.Data)
			}
		}
		entries = append(entries, e)
	}
	return entries
}

func outcomes(responses []fsm.Response) string {
	var b strings.Builder
	for _, r := range responses {
		for _, w := range r.Results {
			fmt.Fprintf(&b, "%d@%d %q,", w.Outcome, w.Revision, w.Value)
		}
		fmt.Fprintln(&b, r.Err)
	}
	return b.String()
}

// TestServersAgree gives the same entries to two servers: one applies them one by one
// with everything in memory; the other in batches, with nothing in memory, and dying in
// the middle of a commit, of which some records arrive and some do not.
func TestServersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		one, other := newServer(t, 1<<20), newServer(t, 1)
		defer os.RemoveAll(one.dir)
		defer os.RemoveAll(other.dir)
		var want, got string
		for _, e := range entries {
			want += outcomes(one.machine.Apply([]fsm.Entry{e}))
		}
		crash := rapid.IntRange(0, len(entries)).Draw(t, "crash")
		for at := 0; at < len(entries); {
			end := rapid.IntRange(at+1, len(entries)).Draw(t, "end")
			if at <= crash && crash < end {
				other.tear(entries[at:end])
				crash = -1
				// Everything is offered again, as Raft does after a start.
				other.machine.Apply(entries[:at])
				other.events = nil
			}
			got += outcomes(other.machine.Apply(entries[at:end]))
			at = end
		}
		if got != want {
			t.Fatalf("answers differ:\n%s\nand\n%s", want, got)
		}
		if a, b := one.contents(), other.contents(); a != b {
			t.Fatalf("states differ:\n%s\nand\n%s", a, b)
		}
		ma, errA := one.machine.Meta()
		mb, errB := other.machine.Meta()
		if ma != mb || errA != nil || errB != nil {
			t.Fatalf("%+v (%v) and %+v (%v)", ma, errA, mb, errB)
		}
		tail := other.events
		if a, b := fmt.Sprint(one.events[len(one.events)-len(tail):]), fmt.Sprint(tail); a != b {
			t.Fatalf("events differ:\n%s\nand\n%s", a, b)
		}
		one.close()
		other.close()
	})
}

// tear lets a drawn part of a commit arrive on disk and starts again.
func (s *server) tear(entries []fsm.Entry) {
	before, err := s.machine.Meta()
	if err != nil {
		s.t.Fatal(err)
	}
	// Another machine on the same index finds out what would be committed.
	probe := &probe{State: s}
	fsm.New(s.index, probe, probe, before).Apply(entries)
	var arrived []engine.Record
	for _, r := range probe.records {
		if rapid.Bool().Draw(s.t, "arrives") {
			arrived = append(arrived, r)
		}
	}
	if probe.meta == (engine.Meta{}) {
		probe.meta = before // Nothing was to be committed.
	}
	if err := s.engine.Commit(arrived, probe.meta); err != nil {
		s.t.Fatal(err)
	}
	s.close()
	s.open()
}

// probe takes a commit and fails it, so that nothing else changes.
type probe struct {
	fsm.State
	records []engine.Record
	meta    engine.Meta
}

func (p *probe) Commit(records []engine.Record, meta engine.Meta) error {
	if len(records) == 0 {
		return nil // Only metadata, before a horizon: there is nothing of which a part could arrive.
	}
	p.records, p.meta = records, meta
	return errors.New("only asking")
}
func (p *probe) Changed([]fsm.Change, uint64) {}
func (p *probe) SetDiscard(uint64)            {}

// TestFailedStateStopsTheMachine: a hole must not be written over.
func TestFailedStateStopsTheMachine(t *testing.T) {
	x := index.New(1 << 20)
	p := &probe{}
	m := fsm.New(x, p, p, engine.Meta{})
	w := command.Write{Key: "pods/a/x", Data: []byte("{}"), RevisionAt: -1}
	entry := func(i uint64) fsm.Entry { return fsm.Entry{Index: i, Data: w.Append(command.BeginWrites(nil))} }
	for i := range uint64(2) {
		if r := m.Apply([]fsm.Entry{entry(i + 1)}); r[0].Err == nil {
			t.Fatalf("entry %d was applied", i+1)
		}
	}
	if meta, err := m.Meta(); err == nil || meta.Applied != 0 || x.Revision() != 0 {
		t.Fatalf("the machine went on to %+v: %v", meta, err)
	}
	m = fsm.New(x, p, p, engine.Meta{})
	if r := m.Apply([]fsm.Entry{{Index: 1, Data: []byte{99, 1}}}); !errors.Is(r[0].Err, command.ErrVersion) {
		t.Fatalf("an entry from the future: %v", r[0].Err)
	}
}
