package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/snapshot"
)

// noSource has no state to stream.
type noSource struct{}

func (noSource) Open(snapshot.State) (int64, io.ReadCloser, error) { return 0, nil, io.EOF }
func (noSource) Pin(snapshot.State) func()                         { return func() {} }

// TestReceivedSnapshotIsAbsorbedAfterACrash stops a server between receiving a leader's
// snapshot and installing it: Raft would go on behind the snapshot, so the state must be
// there before Raft starts.
func TestReceivedSnapshotIsAbsorbedAfterACrash(t *testing.T) {
	ctx := context.Background()
	config := func(dir string) Config {
		return Config{Dir: dir, Bootstrap: true, MinFreeBytes: 1, Logger: slog.New(slog.DiscardHandler)}
	}
	open := func(dir string) *Store {
		t.Helper()
		s, err := Open(ctx, config(dir))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	leader := open(t.TempDir())
	for i := range 100 {
		if _, err := leader.Write(ctx, Write{Key: Key(fmt.Sprint("pods/a/p", i)), Data: []byte(`{"rv":""}`), RevisionAt: 7}); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := leader.machine.Meta()
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if _, err := leader.engine.WriteStream(t.Context(), &stream, meta); err != nil {
		t.Fatal(err)
	}
	if size, r, err := leader.engine.OpenStream(meta); err != nil || size != int64(stream.Len()) {
		t.Fatalf("a stream of %d bytes is announced as %d: %v", stream.Len(), size, err)
	} else if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	follower := open(dir)
	if _, err := follower.Write(ctx, Write{Key: "old/a/x", Data: []byte("{}"), RevisionAt: -1}); err != nil {
		t.Fatal(err)
	}
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	received, err := snapshot.Open(filepath.Join(dir, snapshotDir), noSource{}, engine.WriteFile)
	if err != nil {
		t.Fatal(err)
	}
	self := raft.Configuration{Servers: []raft.Server{{ID: "server", Address: "server"}}}
	sink, err := received.Create(1, meta.Applied, 9, self, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(stream.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 { // Once more, to see that it happens once.
		follower = open(dir)
		if follower.Revision() != leader.Revision() || follower.Count("pods/") != 100 || follower.Count("old/") != 0 {
			t.Fatalf("after the restart: revision %d, %d pods, %d others", follower.Revision(), follower.Count("pods/"), follower.Count("old/"))
		}
		if h := follower.Horizon(); h != leader.Revision() {
			t.Fatalf("the history begins at %d, want the snapshot's %d", h, leader.Revision())
		}
		if err := follower.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedStreamIsRefused flips each byte of a stream: the old state must stay.
func TestDamagedStreamIsRefused(t *testing.T) {
	dir := t.TempDir()
	e, err := engine.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	meta := engine.Meta{Applied: 7, Revision: 3}
	if err := e.Commit([]engine.Record{{Key: "pods/a/x", Revision: 3, Value: []byte("\x00old")}}, meta); err != nil {
		t.Fatal(err)
	}
	var good bytes.Buffer
	if _, err := e.WriteStream(t.Context(), &good, meta); err != nil {
		t.Fatal(err)
	}
	for i := range good.Len() {
		bad := bytes.Clone(good.Bytes())
		bad[i] ^= 0x41
		if _, err := e.Replace(bytes.NewReader(bad)); err == nil {
			t.Fatalf("byte %d of %d may be damaged", i, len(bad))
		}
	}
	if _, err := e.Replace(bytes.NewReader(good.Bytes()[:good.Len()-1])); err == nil {
		t.Fatal("a cut stream was taken")
	}
	if v, err := e.Load("pods/a/x", 3); err != nil || string(v.Data()) != "old" {
		t.Fatalf("the old state: %q %v", v, err)
	}
	if _, err := e.Replace(bytes.NewReader(good.Bytes())); err != nil {
		t.Fatal(err)
	}
	if v, err := e.Load("pods/a/x", 3); err != nil || string(v.Data()) != "old" {
		t.Fatalf("the new state: %q %v", v, err)
	}
}
