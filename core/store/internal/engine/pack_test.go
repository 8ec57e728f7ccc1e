package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

func openEngine(t testing.TB, dir string) *Engine {
	t.Helper()
	e, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// Stores are full of values that were packed with it.
func TestDictionaryStaysAsItIs(t *testing.T) {
	const want = "664586efe5608f1eec401bc84242a41257187f47e09b08576ebf432fd608bcaa"
	if sum := sha256.Sum256(dictionary1); hex.EncodeToString(sum[:]) != want {
		t.Fatal("dictionary1.json was changed: what stores hold can't be read without the one it was. Add a second one instead.")
	}
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	e := openEngine(t, t.TempDir())
	lines := strings.Split(string(dictionary1), "\n")
	var revision uint64
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom(lines).Draw(t, "line")
		from := rapid.IntRange(0, len(line)).Draw(t, "from")
		var text string
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			text = rapid.String().Draw(t, "text") + line[from:] + rapid.String().Draw(t, "end")
		case 1:
			text = string(rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "bytes"))
		case 2:
			text = strings.Repeat(line, rapid.IntRange(0, 60).Draw(t, "times")) // some beyond the value log's threshold
		}
		revision++
		want := value.Make([]byte(text), -1, 0)
		if err := e.Commit([]Record{{Key: "pods/a/x", Revision: revision, Value: want}}, Meta{Revision: revision}); err != nil {
			t.Fatal(err)
		}
		got, err := e.Load("pods/a/x", revision)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%d bytes came back as %d: %v", len(want), len(got), err)
		}
	})
}

// Objects are packed: a store of them takes a fraction of their size.
func TestObjectsArePacked(t *testing.T) {
	pod := dictionary1[strings.Index(string(dictionary1), `{"apiVersion":"v1","kind":"Pod"`):]
	pod = pod[:strings.IndexByte(string(pod), '\n')]
	p := &packer{}
	b, how := p.pack(&Record{Key: "pods/a/x", Revision: 1, Value: value.Make([]byte(strings.ReplaceAll(string(pod), `"web"`, `"something-else"`)), -1, 0)})
	if how != packed1|withSum || len(b) > len(pod)/5 {
		t.Fatalf("a pod of %d bytes takes %d in form %d", len(pod), len(b), how)
	}
}

// What was written before values were packed, in compressed tables, stays readable.
func TestPlainStoresAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, currentFile), []byte(following("")+"\n"), fileMode); err != nil {
		t.Fatal(err)
	}
	db, err := badger.OpenManaged(badger.DefaultOptions(filepath.Join(dir, following(""))).WithLogger(nil).WithCompression(options.Snappy))
	if err != nil {
		t.Fatal(err)
	}
	old := value.Make(dictionary1[:3000], -1, 0)
	wb := db.NewManagedWriteBatch()
	for i := range 100 {
		if err := wb.SetEntryAt(badger.NewEntry(objectKey(fmt.Sprintf("pods/a/p%02d", i)), old), 2); err != nil {
			t.Fatal(err)
		}
	}
	// A form of the future.
	if err := wb.SetEntryAt(badger.NewEntry(objectKey("pods/a/q"), old).WithMeta(77), 2); err != nil {
		t.Fatal(err)
	}
	if err := wb.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, dir)
	if v, err := e.Load("pods/a/p42", 2); err != nil || string(v) != string(old) {
		t.Fatalf("read %d bytes, %v", len(v), err)
	}
	if _, err := e.Load("pods/a/q", 2); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("a value of an unknown form: %v", err)
	}
}

// BenchmarkCommit is what the disk's part of a write costs, all of it: tables that are built
// and merged on the way included.
func BenchmarkCommit(b *testing.B) {
	e := openEngine(b, b.TempDir())
	pod := string(dictionary1[strings.Index(string(dictionary1), `{"apiVersion":"v1","kind":"Pod"`):])
	pod = pod[:3000]
	b.ReportAllocs()
	var revision uint64
	for b.Loop() {
		revision++
		text := strings.ReplaceAll(pod, "web", fmt.Sprintf("p%07d", revision))
		v := value.Make([]byte(text), -1, 0)
		if err := e.Commit([]Record{{Key: fmt.Sprintf("pods/a/p%07d", revision), Revision: revision, Value: v}}, Meta{Revision: revision}); err != nil {
			b.Fatal(err)
		}
	}
}
