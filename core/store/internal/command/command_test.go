package command_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/command"
)

func drawWrite(t *rapid.T) command.Write {
	w := command.Write{
		Key:        rapid.String().Draw(t, "key"),
		Expect:     rapid.Int64().Draw(t, "expect"),
		Delete:     rapid.Bool().Draw(t, "delete"),
		RevisionAt: -1,
	}
	if w.Delete {
		w.Note = rapid.SliceOf(rapid.Byte()).Draw(t, "note")
	} else {
		w.Data = rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		w.RevisionAt = rapid.IntRange(-1, len(w.Data)).Draw(t, "at")
	}
	return w
}

func TestWritesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := rapid.SliceOf(rapid.Custom(drawWrite)).Draw(t, "writes")
		b := command.BeginWrites(nil)
		for i := range writes {
			before := len(b)
			b = writes[i].Append(b)
			if got := len(b) - before; got > writes[i].Size() {
				t.Fatalf("%d bytes, Size says at most %d", got, writes[i].Size())
			}
		}
		e, err := command.Parse(b)
		if err != nil || e.Kind != command.Writes {
			t.Fatal(e.Kind, err)
		}
		for _, want := range writes {
			var got command.Write
			if err := e.Next(&got); err != nil {
				t.Fatal(err)
			}
			if got.Key != want.Key || !bytes.Equal(got.Note, want.Note) || got.Expect != want.Expect || got.Delete != want.Delete ||
				got.RevisionAt != want.RevisionAt || !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if e.More() {
			t.Fatal("something is left")
		}
	})
}

func TestTransactionsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) command.Write {
			w := drawWrite(t)
			if rapid.Bool().Draw(t, "check") {
				w = command.Write{Key: w.Key, Expect: w.Expect, Check: true, RevisionAt: -1}
			}
			return w
		})).Draw(t, "writes")
		b := command.BeginTransaction(nil)
		for i := range writes {
			b = writes[i].Append(b)
		}
		e, err := command.Parse(b)
		if err != nil || e.Kind != command.Transaction {
			t.Fatal(e.Kind, err)
		}
		for _, want := range writes {
			var got command.Write
			if err := e.Next(&got); err != nil {
				t.Fatal(err)
			}
			if got.Key != want.Key || !bytes.Equal(got.Note, want.Note) || got.Expect != want.Expect || got.Delete != want.Delete || got.Check != want.Check ||
				got.RevisionAt != want.RevisionAt || !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if e.More() {
			t.Fatal("something is left")
		}
	})
}

// TestChecksAreOfTransactions: a server from before transactions must not meet the flag in an
// entry that it believes to know.
func TestChecksAreOfTransactions(t *testing.T) {
	w := command.Write{Key: "pods/a/x", Expect: 5, Check: true}
	e, err := command.Parse(w.Append(command.BeginWrites(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Next(&w); err == nil {
		t.Fatal("a check outside a transaction was read")
	}
}

func TestCompactComesBack(t *testing.T) {
	e, err := command.Parse(command.AppendCompact(nil, 1<<60))
	if err != nil || e.Kind != command.Compact {
		t.Fatal(e.Kind, err)
	}
	if r, err := e.Revision(); err != nil || r != 1<<60 {
		t.Fatal(r, err)
	}
}

func TestUnknownFormatsAreTold(t *testing.T) {
	for name, b := range map[string][]byte{"version": {9, 1}, "kind": {command.Version, 77}} {
		if _, err := command.Parse(b); !errors.Is(err, command.ErrVersion) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzEntry: whatever the bytes, reading them ends, with an error or within them.
func FuzzEntry(f *testing.F) {
	w := command.Write{Key: "pods/a/x", Data: []byte("{}"), RevisionAt: 1, Expect: 5}
	f.Add(w.Append(command.BeginWrites(nil)))
	f.Add(command.AppendCompact(nil, 7))
	c := command.Write{Key: "pods/a/y", Check: true, Expect: 5}
	f.Add(c.Append(w.Append(command.BeginTransaction(nil))))
	f.Add([]byte{1, 1, 2, 0, 1, 'k', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := command.Parse(b)
		if err != nil {
			return
		}
		if e.Kind == command.Compact {
			_, _ = e.Revision()
			return
		}
		for e.More() {
			var w command.Write
			if e.Next(&w) != nil {
				return
			}
			if w.Check && (e.Kind != command.Transaction || w.Delete || w.Data != nil) {
				t.Fatalf("a check that does something: %+v", w)
			}
			if w.RevisionAt < -1 || w.RevisionAt > len(w.Data) {
				t.Fatalf("revision at %d of %d bytes", w.RevisionAt, len(w.Data))
			}
		}
	})
}
