package snapshot_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
	"github.com/pintle-dev/pintle/core/store/internal/snapshot"
)

// source streams its own name and counts pins by revision.
type source struct{ pins map[uint64]int }

func (s *source) Open(st snapshot.State) (int64, io.ReadCloser, error) {
	if s.pins[st.Revision] == 0 {
		return 0, nil, errors.New("the state may have gone")
	}
	return 5, io.NopCloser(strings.NewReader("state")), nil
}

func (s *source) Pin(st snapshot.State) func() {
	s.pins[st.Revision]++
	return func() {
		if s.pins[st.Revision]--; s.pins[st.Revision] == 0 {
			delete(s.pins, st.Revision)
		}
	}
}

func write(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }

func create(t *testing.T, s *snapshot.Store, index uint64) *snapshot.Sink {
	t.Helper()
	sink, err := s.Create(1, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink.(*snapshot.Sink)
}

func TestSnapshotsAreMetadata(t *testing.T) {
	dir, src := t.TempDir(), &source{pins: map[uint64]int{}}
	open := func() *snapshot.Store {
		t.Helper()
		s, err := snapshot.Open(dir, src, write)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pinned := func(want ...uint64) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(src.pins)); !slices.Equal(got, want) {
			t.Fatalf("pinned revisions %v, want %v", got, want)
		}
	}
	s := open()
	pinned(0) // Without a snapshot all history is needed.
	for i, index := range []uint64{10, 20} {
		k := create(t, s, index)
		k.SetState(snapshot.State{Applied: index, Revision: 100 + uint64(i)})
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		pinned(100 + uint64(i))
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Index != 20 {
		t.Fatalf("%+v %v", list, err)
	}
	meta, r, err := s.Open(list[0].ID)
	if err != nil || meta.Size != 5 {
		t.Fatalf("%+v %v", meta, err)
	}
	if b, _ := io.ReadAll(r); string(b) != "state" {
		t.Fatalf("content %q", b)
	}
	// One is coming in while an own one is taken, and a given-up one leaves nothing.
	in := create(t, s, 40)
	if _, err := in.Write([]byte("received")); err != nil {
		t.Fatal(err)
	}
	gone := create(t, s, 35)
	if _, err := gone.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := gone.Cancel(); err != nil {
		t.Fatal(err)
	}
	own := create(t, s, 30)
	own.SetState(snapshot.State{Applied: 30, Revision: 130})
	if err := errors.Join(own.Close(), in.Close()); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = open()
	if _, received, ok := s.Latest(); !received || !ok {
		t.Fatal("the received snapshot is forgotten")
	}
	f, err := s.OpenReceived()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(f); string(b) != "received" {
		t.Fatalf("content %q", b)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	pinned(0)
	if err := s.Absorbed(snapshot.State{Applied: 40, Revision: 140}); err != nil {
		t.Fatal(err)
	}
	pinned(140)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("files left: %v %v", names, err)
	}
	s.Close()
	if state, received, _ := open().Latest(); received || state.Revision != 140 {
		t.Fatalf("after a restart: %+v %t", state, received)
	}
}

// A leader that did not hear that its snapshot had arrived sends it again, when it may be
// absorbed already.
func TestASnapshotComesAgain(t *testing.T) {
	dir, src := t.TempDir(), &source{pins: map[uint64]int{}}
	s, err := snapshot.Open(dir, src, write)
	if err != nil {
		t.Fatal(err)
	}
	receive := func(index uint64, content string) {
		t.Helper()
		k := create(t, s, index)
		if _, err := k.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	receive(40, "first")
	if err := s.Absorbed(snapshot.State{Applied: 40, Revision: 140}); err != nil {
		t.Fatal(err)
	}
	receive(40, "again")
	content := func(s *snapshot.Store) string {
		t.Helper()
		list, err := s.List()
		if err != nil || len(list) != 1 || list[0].Index != 40 {
			t.Fatalf("%+v %v", list, err)
		}
		_, r, err := s.Open(list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := content(s); got != "again" {
		t.Errorf("Raft restores from %q", got)
	}
	receive(30, "older") // It waited in a queue.
	s.Close()

	if s, err = snapshot.Open(dir, src, write); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, received, ok := s.Latest(); !received || !ok {
		t.Fatal("what was received again is forgotten")
	}
	if got := content(s); got != "again" {
		t.Errorf("after a restart: %q", got)
	}
	// Whose content is lost is damaged, not a riddle.
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, list[0].ID+".data")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenReceived(); !durable.IsDamage(err) {
		t.Errorf("content that is missing: %v", err)
	}
}
