package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/backup"
)

var created = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func header() backup.Header {
	return backup.Header{Cluster: "7b0e2f3a-1111-2222-3333-444455556666", Revision: 42, Created: created, Server: "v0.1.0"}
}

// content is a backup of state, which is no stream of a store: the format does not look.
func content(state []byte, keys []backup.File, to ...age.Recipient) backup.Content {
	return backup.Content{Header: header(), Keys: keys, Recipients: to, State: func(_ context.Context, w io.Writer) (uint64, error) {
		_, err := w.Write(state)
		return 7, err
	}}
}

func written(t interface{ Fatalf(string, ...any) }, c backup.Content) []byte {
	var out bytes.Buffer
	_, s, err := backup.Write(context.Background(), &out, c)
	if err != nil {
		t.Fatalf("writing: %v", err)
	}
	if s.Bytes != int64(out.Len()) {
		t.Fatalf("%d bytes were written, it says %d", out.Len(), s.Bytes)
	}
	return out.Bytes()
}

// read reads all of a backup.
func read(file []byte, ids ...age.Identity) (h backup.Header, keys []backup.File, state []byte, s backup.Summary, err error) {
	r, err := backup.Open(bytes.NewReader(file))
	if err != nil {
		return h, nil, nil, s, err
	}
	keys, in, err := r.Content(ids...)
	if err != nil {
		return h, nil, nil, s, err
	}
	state, _ = io.ReadAll(in) // what it met is told by Finish
	s, err = r.Finish()
	return r.Header(), keys, state, s, err
}

// noise does not compress.
func noise(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = rng.Read(b)
	return b
}

func identity(t testing.TB) *age.X25519Identity {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What was written is what is read, whatever its size, and a file that differs by anything from
// what was written is refused.
func TestRoundTripAndDamage(t *testing.T) {
	id := identity(t)
	rapid.Check(t, func(t *rapid.T) {
		state := noise(rapid.Uint64().Draw(t, "seed"), rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 1<<20)).Draw(t, "size"))
		var keys []backup.File
		if rapid.Bool().Draw(t, "keys") {
			keys = []backup.File{{Path: "pki/ca.key", Data: []byte("secret")}, {Path: "pki/empty", Data: []byte{}}}
		}
		var to []age.Recipient
		if rapid.Bool().Draw(t, "sealed") {
			to = []age.Recipient{id.Recipient()}
		}
		file := written(t, content(state, keys, to...))
		h, gotKeys, gotState, s, err := read(file, id)
		if err != nil {
			t.Fatalf("reading: %v", err)
		}
		if h.Revision != 42 || !h.Created.Equal(created) || h.Keys != (keys != nil) || (h.Encryption != "") != (to != nil) {
			t.Fatalf("header %+v", h)
		}
		if !bytes.Equal(gotState, state) || s.Objects != 7 || s.StateBytes != int64(len(state)) || s.Bytes != int64(len(file)) {
			t.Fatalf("%d of %d bytes came back, %+v", len(gotState), len(state), s)
		}
		if !slices.EqualFunc(gotKeys, keys, func(a, b backup.File) bool { return a.Path == b.Path && bytes.Equal(a.Data, b.Data) }) {
			t.Fatalf("keys %v", gotKeys)
		}
		if bytes.Contains(file, []byte("secret")) && to != nil {
			t.Fatalf("a sealed backup shows its keys")
		}

		bad := bytes.Clone(file)
		at := rapid.IntRange(0, len(bad)-1).Draw(t, "at")
		switch rapid.SampledFrom([]string{"flip", "cut", "append", "drop", "repeat"}).Draw(t, "damage") {
		case "flip":
			bad[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		case "cut":
			bad = bad[:at]
		case "append":
			bad = append(bad, file[:at+1]...)
		case "drop":
			bad = slices.Delete(bad, at, min(len(bad), at+rapid.IntRange(1, 1000).Draw(t, "length")))
		case "repeat":
			bad = slices.Insert(bad, at, file[max(0, at-rapid.IntRange(1, 1000).Draw(t, "length")):at+1]...)
		}
		if _, _, _, _, err := read(bad, id); err == nil {
			t.Fatalf("damage was not seen")
		}
		// Without looking into the content, too: that is how a copy is checked by who can't.
		r, err := backup.Open(bytes.NewReader(bad))
		if err == nil {
			_, err = r.Finish()
		}
		if err == nil {
			t.Fatalf("damage was not seen without the identity")
		}
		var damaged *backup.DamagedError
		if errors.As(err, &damaged) && (damaged.Offset < 0 || damaged.Offset > int64(len(bad))) {
			t.Fatalf("damage is said to be at %d of %d bytes", damaged.Offset, len(bad))
		}
	})
}

// Damage is told with the place of the frame that has it.
func TestDamageIsTold(t *testing.T) {
	file := written(t, content(noise(1, 600<<10), nil))
	second := bytes.IndexByte(file[300<<10:], 0) // somewhere in the second frame
	flipped := bytes.Clone(file)
	flipped[300<<10+second] ^= 1
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"a bit", flipped, "damaged at byte 262"}, // 256 KiB and what is before them
		{"cut", file[:1000], "damaged at byte 1000: it ends before its trailer"},
		{"without its trailer", file[:bytes.LastIndex(file, []byte("T\x00\x00\x00"))], "ends before its trailer"},
		{"nothing", nil, "damaged at byte 0: it ends"},
		{"something else", []byte("PK\x03\x04 and more that is no backup"), "no backup"},
		{"a newer format", append([]byte("PINTLE-BACKUP-2\n"), file[16:]...), `format "2"`},
	} {
		if _, _, _, _, err := read(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

// resealed is file with a trailer that fits.
func resealed(t *testing.T, file []byte) []byte {
	at := bytes.LastIndex(file, []byte("T\x00\x00\x00"))
	sum := sha256.Sum256(file[:at])
	body := slices.Clone(file[at : len(file)-4])
	key := []byte(`"sha256":"`)
	copy(body[bytes.Index(body, key)+len(key):], hex.EncodeToString(sum[:]))
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Checksum(binary.BigEndian.AppendUint64(nil, uint64(at)), table), table, body)
	out := binary.BigEndian.AppendUint32(append(bytes.Clone(file[:at]), body...), crc)
	if r, err := backup.Open(bytes.NewReader(out)); err != nil {
		t.Fatal(err)
	} else if _, err := r.Finish(); err == nil && bytes.Equal(out, file) {
		t.Fatal("nothing was changed")
	}
	return out
}

func TestSealedBackups(t *testing.T) {
	mine, other := identity(t), identity(t)
	file := written(t, content([]byte("state"), nil, mine.Recipient()))
	if _, _, _, _, err := read(file); !errors.Is(err, backup.ErrSealed) {
		t.Errorf("without an identity: %v", err)
	}
	if _, _, _, _, err := read(file, other); !errors.Is(err, backup.ErrSealed) || !strings.Contains(err.Error(), "not for the identity") {
		t.Errorf("with another identity: %v", err)
	}
	// A sealed backup whose header was exchanged for another good one.
	other1 := written(t, backup.Content{Header: backup.Header{Cluster: header().Cluster, Revision: 43, Created: created, Server: "v0.1.0"},
		Recipients: []age.Recipient{mine.Recipient()}, State: content(nil, nil).State})
	forged := bytes.Clone(file)
	end := bytes.IndexByte(file, '}') + 5
	copy(forged[:end], other1[:end])
	if _, _, _, _, err := read(resealed(t, forged), mine); err == nil || !strings.Contains(err.Error(), "not the one that the content was written with") {
		t.Errorf("with another header: %v", err)
	}

	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	phrase, wrong := write("phrase", "correct horse\n"), write("wrong", "battery staple\n")
	to, err := backup.Encryption{PassphraseFile: phrase}.Load()
	if err != nil {
		t.Fatal(err)
	}
	file = written(t, content([]byte("state"), nil, to...))
	for _, c := range []struct {
		file string
		good bool
	}{{phrase, true}, {wrong, false}} {
		ids, err := backup.Identities("", c.file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, state, _, err := read(file, ids...); (err == nil) != c.good || c.good && string(state) != "state" {
			t.Errorf("with %s: %q, %v", c.file, state, err)
		}
	}
	ids, err := backup.Identities(write("id", "# mine\n"+mine.String()+"\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	to, err = backup.Encryption{Recipients: []string{other.Recipient().String()}, RecipientsFile: write("to", mine.Recipient().String())}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := read(written(t, content(nil, nil, to...)), ids...); err != nil {
		t.Errorf("sealed for two: %v", err)
	}
	for _, bad := range []backup.Encryption{
		{Recipients: []string{"age1nonsense"}}, {RecipientsFile: filepath.Join(dir, "missing")},
		{PassphraseFile: write("empty", "\n")}, {PassphraseFile: phrase, RecipientsFile: write("more", "")},
	} {
		if _, err := bad.Load(); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// Why a backup was given up is told to who reads it, and it counts for nothing.
func TestFailedBackupIsRefused(t *testing.T) {
	for _, after := range []int{0, 10, 600 << 10} {
		c := content(nil, nil)
		c.State = func(_ context.Context, w io.Writer) (uint64, error) {
			if _, err := w.Write(noise(2, after)); err != nil {
				return 0, err
			}
			return 0, errors.New("the disk said no")
		}
		var out bytes.Buffer
		if _, _, err := backup.Write(t.Context(), &out, c); err == nil || !strings.Contains(err.Error(), "the disk said no") {
			t.Errorf("the writer says %v", err)
		}
		r, err := backup.Open(&out)
		if err == nil {
			_, err = r.Finish()
		}
		if err == nil || !strings.Contains(err.Error(), "not completed: the disk said no") {
			t.Errorf("the reader says %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	name := backup.Name(header())
	if name != "pintle-7b0e2f3a-20260304T050607Z-42.backup" {
		t.Errorf("name %s", name)
	}
	n, ok := backup.ParseName(name)
	if !ok || n != (backup.Named{Name: name, Created: created, Cluster: "7b0e2f3a", Revision: 42}) {
		t.Errorf("parsed %+v %v", n, ok)
	}
	for _, bad := range []string{"", "x.backup", "pintle-a-b-c.backup", name + ".tmp", "." + name, "pintle-7b0e2f3a-20260304T050607Z-042.backup", "pintle-7b0e2f3a-20260304T050607Z--1.backup"} {
		if n, ok := backup.ParseName(bad); ok {
			t.Errorf("%q was taken for %+v", bad, n)
		}
	}
	if n, ok := backup.ParseName(backup.Name(backup.Header{Created: created})); !ok || n.Cluster != "unknown" {
		t.Errorf("a backup of no known cluster: %+v %v", n, ok)
	}
}
