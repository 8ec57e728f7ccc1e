package command_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/command"
)

func TestSealedWritesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := rapid.SampledFrom([]func([]byte) []byte{command.BeginWrites, command.BeginTransaction}).Draw(t, "kind")
		writes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) command.Write {
			w := drawWrite(t)
			w.Note = nil
			w.Sealed = !w.Delete && rapid.Bool().Draw(t, "sealed")
			return w
		})).Draw(t, "writes")
		b, sealed := begin(nil), false
		plain := b[1]
		for i := range writes {
			b, sealed = writes[i].Append(b), sealed || writes[i].Sealed
		}
		// An entry without sealed objects is one that every server reads.
		if (b[1] != plain) != sealed {
			t.Fatalf("kind %d of an entry with sealed objects: %v", b[1], sealed)
		}
		e, err := command.Parse(b)
		if err != nil || byte(e.Kind) != plain || e.Sealed != sealed {
			t.Fatal(e.Kind, e.Sealed, err)
		}
		for _, want := range writes {
			var got command.Write
			if err := e.Next(&got); err != nil {
				t.Fatal(err)
			}
			if got.Sealed != want.Sealed || got.Key != want.Key || got.RevisionAt != want.RevisionAt || !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if e.More() {
			t.Fatal("something is left")
		}
	})
}

// TestSealedWritesAreMarked: a server that does not know them must stop at the entry's kind.
func TestSealedWritesAreMarked(t *testing.T) {
	w := command.Write{Key: "secrets/a/x", Data: []byte("envelope"), RevisionAt: 3, Sealed: true}
	b := w.Append(command.BeginWrites(nil))
	b[1] &^= 0x40
	e, err := command.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Next(&w); err == nil {
		t.Fatal("a sealed write was read in an entry that is not marked")
	}
	if _, err := command.Parse([]byte{1, byte(command.Compact) | 0x40, 7}); err == nil {
		t.Fatal("a sealed compaction was read")
	}
}
