package raftlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/test/bench/store/raftlog"
)

func entries(from, to uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{
			Index: i, Term: 7, Type: raft.LogNoop, Data: []byte{byte(i)}, Extensions: []byte("ext"),
			AppendedAt: time.Unix(0, int64(i)),
		})
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantRange(t *testing.T, l raftlog.Log, first, last uint64) {
	t.Helper()
	f, err := l.FirstIndex()
	must(t, err)
	n, err := l.LastIndex()
	must(t, err)
	if f != first || n != last {
		t.Errorf("the log is %d to %d, want %d to %d", f, n, first, last)
	}
	for i := first; i <= last && i > 0; i++ {
		var e raft.Log
		must(t, l.GetLog(i, &e))
		if e.Index != i || e.Term != 7 || e.Type != raft.LogNoop || len(e.Data) != 1 || e.Data[0] != byte(i) ||
			string(e.Extensions) != "ext" || !e.AppendedAt.Equal(time.Unix(0, int64(i))) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}

// TestLogsAreLogs puts every kind through what Raft does with a log.
func TestLogsAreLogs(t *testing.T) {
	for _, kind := range raftlog.Kinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			l, err := raftlog.Open(kind, dir)
			must(t, err)
			wantRange(t, l, 0, 0)
			// Raft takes both for a variable that was never set.
			if v, err := l.GetUint64([]byte("CurrentTerm")); v != 0 || (err != nil && err.Error() != "not found") {
				t.Errorf("a variable never set: %d, %v, want 0 and no error or \"not found\"", v, err)
			}
			must(t, l.SetUint64([]byte("CurrentTerm"), 9))
			must(t, l.StoreLogs(entries(1, 20)))
			wantRange(t, l, 1, 20)
			must(t, l.DeleteRange(1, 5))
			must(t, l.DeleteRange(15, 20))
			wantRange(t, l, 6, 14)
			must(t, l.StoreLog(entries(15, 15)[0]))
			must(t, l.Close())

			l, err = raftlog.Open(kind, dir)
			must(t, err)
			wantRange(t, l, 6, 15)
			if v, err := l.GetUint64([]byte("CurrentTerm")); v != 9 || err != nil {
				t.Errorf("the variable is %d, %v", v, err)
			}
			var e raft.Log
			if err := l.GetLog(16, &e); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("an entry behind the end: %v", err)
			}
			must(t, l.DeleteRange(6, 15))
			wantRange(t, l, 0, 0)
			must(t, l.Close())
		})
	}
}

// TestLoad runs Raft over every kind and finds in the log what was acknowledged.
func TestLoad(t *testing.T) {
	for _, kind := range raftlog.Kinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			l, err := raftlog.Open(kind, dir)
			must(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			s, err := raftlog.Start(ctx, l, raftlog.Load{SnapshotEvery: 50 * time.Millisecond, Keep: 4})
			must(t, err)
			writing, stop := context.WithTimeout(ctx, 300*time.Millisecond)
			defer stop()
			must(t, s.Write(writing, 16))
			acked := s.Acked()
			if s.Writes() == 0 || acked == 0 {
				t.Errorf("%d writes up to entry %d", s.Writes(), acked)
			}
			must(t, s.Close())

			l, err = raftlog.Open(kind, dir)
			must(t, err)
			n, _, last, err := raftlog.Read(l)
			must(t, err)
			if last < acked || n == 0 {
				t.Errorf("%d entries up to %d, acknowledged were %d", n, last, acked)
			}
			must(t, l.Close())
		})
	}
}
