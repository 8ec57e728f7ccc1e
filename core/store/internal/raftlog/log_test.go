package raftlog

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

func options(t testing.TB) Options {
	return Options{
		SegmentBytes: 64 << 10,
		Logger:       hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
		Warn:         func(err error) { t.Log(err) },
	}
}

func openTest(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(dir, options(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeTest(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d %01000d", index, term, 0)}
}

func store(t testing.TB, l *Log, from, to, term uint64) {
	t.Helper()
	for i := from; i <= to; i += 3 {
		var batch []*raft.Log
		for j := i; j < i+3 && j <= to; j++ {
			batch = append(batch, entry(j, term))
		}
		if err := l.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
	}
}

func expect(t testing.TB, l *Log, from, to, term uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if want := entry(i, term); e.Index != i || e.Term != term || string(e.Data) != string(want.Data) || len(e.Extensions) != 0 {
			t.Fatalf("entry %d is %+v", i, e)
		}
	}
}

// TestCutTailAndStart cuts the end of the log, as a follower's is after a change of leaders,
// and starts again: raft-wal 0.4.0 could not be read then.
func TestCutTailAndStart(t *testing.T) {
	for name, keep := range map[string]int{"from disk": 0, "from memory": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openTest(t, dir)
			l.recent.setBudget(keep)
			store(t, l, 1, 200, 1) // Several segments.
			for round := uint64(2); round < 6; round++ {
				cut := 150 - 20*round
				if err := l.DeleteRange(cut+1, mustLast(t, l)); err != nil {
					t.Fatal(err)
				}
				if round%2 == 0 {
					closeTest(t, l)
					l = openTest(t, dir)
					l.recent.setBudget(keep)
				}
				store(t, l, cut+1, cut+100, round)
				expect(t, l, cut+1, cut+100, round)
				closeTest(t, l)
				l = openTest(t, dir)
				l.recent.setBudget(keep)
				expect(t, l, 1, 50, 1)
				expect(t, l, cut+1, cut+100, round)
				if got, want := l.Extent().Last, (Position{Term: round, Index: cut + 100}); got != want {
					t.Fatalf("it ends at %v, want %v", got, want)
				}
			}
			if err := l.DeleteRange(1, 30); err != nil {
				t.Fatal(err)
			}
			var e raft.Log
			if err := l.GetLog(30, &e); err == nil {
				t.Fatal("what was cut off can be read")
			}
			closeTest(t, l)
			l = openTest(t, dir)
			defer closeTest(t, l)
			expect(t, l, 31, 50, 1)
		})
	}
}

func mustLast(t testing.TB, l *Log) uint64 {
	t.Helper()
	last, err := l.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// TestEveryByteOfTheLogIsChecked flips each byte of a log in turn. Where that is not an error it
// was the last batch, which could have been torn by a crash.
func TestEveryByteOfTheLogIsChecked(t *testing.T) {
	dir := t.TempDir()
	o := options(t)
	o.SegmentBytes = 6 << 10
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	store(t, l, 1, 9, 1)
	closeTest(t, l)
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	for _, path := range segments {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 7 {
			bad := append([]byte(nil), whole...)
			bad[at] ^= 0x10
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			x, err := checkSegments(dir, l.meta.Log)
			if err == nil && x.Last.Index != 9 && (path != segments[len(segments)-1] || x.Last.Index < 6) {
				t.Fatalf("%s: a flipped byte at %d of %d leaves %+v", filepath.Base(path), at, len(whole), x)
			}
			if err != nil && !durable.IsDamage(err) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l = openTest(t, dir)
	defer closeTest(t, l)
	expect(t, l, 1, 9, 1)
}

// TestEntriesAreCheckedWhenRead changes an entry on disk while the log is open.
func TestEntriesAreCheckedWhenRead(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	defer closeTest(t, l)
	store(t, l, 1, 3, 1)
	segments, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
	f, err := os.OpenFile(segments[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 100); err != nil {
		t.Fatal(err)
	}
	var e raft.Log
	if err := l.GetLog(1, &e); !durable.IsDamage(err) {
		t.Fatalf("a changed entry is read: %v", err)
	}
	expect(t, l, 2, 3, 1)
}

// TestRecentIsBounded keeps the newest entries, and only as many as the budget has room for.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	r.setBudget(20_000)
	for i := uint64(1); i < 2000; i++ {
		r.add([]*raft.Log{entry(i, 1)})
		if r.bytes > 20_000 || len(r.entries) > 600 {
			t.Fatalf("%d entries, %d bytes", len(r.entries), r.bytes)
		}
	}
	var e raft.Log
	if !r.get(1999, &e) || e.Index != 1999 || r.get(100, &e) || r.get(2000, &e) {
		t.Fatal("the newest are not there")
	}
	r.remove(1995, 1999)
	if r.get(1995, &e) || !r.get(1994, &e) {
		t.Fatal("the cut end is still there")
	}
	r.remove(1, 1990)
	if r.get(1990, &e) || !r.get(1991, &e) {
		t.Fatal("the cut beginning is still there")
	}
	r.setBudget(0)
	if r.get(1994, &e) || r.bytes != 0 {
		t.Fatalf("%d bytes are kept", r.bytes)
	}
}
