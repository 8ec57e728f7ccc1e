package store_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

const childEnv = "PINTLE_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeForever(dir)
	}
	if dir := os.Getenv(transactingEnv); dir != "" {
		transactForever(dir)
	}
	flag.Parse()
	// A run of the model takes a tenth of a second: a few are enough for every day.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("25")
	}
	os.Exit(m.Run())
}

func crashConfig(dir string) store.Config {
	cfg := testConfig(dir)
	cfg.SnapshotInterval = 20 * time.Millisecond
	cfg.SnapshotEntries, cfg.TrailingEntries = 16, 4
	cfg.HistoryWindow = 100 * time.Millisecond
	return cfg
}

// writeForever is the process that is going to be killed: it says what was acknowledged.
func writeForever(dir string) {
	s, err := store.Open(context.Background(), crashConfig(dir))
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	lines := make(chan string)
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("pods/w%d/p%d", w, i%50)
				o, err := put(s, key, fmt.Sprint(s.Revision(), "-", w, "-", i), store.Any)
				if err != nil {
					fmt.Println("failed:", err)
					os.Exit(1)
				}
				lines <- fmt.Sprintf("%s %d %s", key, o.Revision, o.Data)
			}
		}()
	}
	for l := range lines {
		fmt.Println(l)
	}
}

// TestKilledProcessLosesNothing kills a writing process again and again; what it said was
// acknowledged must be there, whether the system trusts its unsynced pages or not.
func TestKilledProcessLosesNothing(t *testing.T) {
	for name, after := range map[string]func(t *testing.T, dir string) string{
		"process killed": func(_ *testing.T, dir string) string { return dir },
		"another boot": func(t *testing.T, dir string) string {
			if err := os.Remove(filepath.Join(dir, "RUN")); err != nil {
				t.Fatal(err)
			}
			return dir
		},
		"copied": func(t *testing.T, dir string) string {
			to := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			return to
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			acked := map[string]uint64{}
			data := map[string]string{}
			for range 2 {
				killWriter(t, dir, 2000, acked, data)
				dir = after(t, dir)
				s := open(t, crashConfig(dir))
				for key, revision := range acked {
					o, err := s.Get(context.Background(), store.Key(key))
					if err != nil || o.Revision < revision {
						t.Fatalf("%s was acknowledged at %d; now %d, %v", key, revision, o.Revision, err)
					}
					check(t, o.Data, o.Revision)
					if o.Revision == revision && string(o.Data) != data[key] {
						t.Fatalf("%s at %d is %s and was acknowledged as %s", key, revision, o.Data, data[key])
					}
				}
				closeStore(t, s)
			}
		})
	}
}

// killWriter runs a writer until it has acknowledged n writes.
func killWriter(t *testing.T, dir string, n int, acked map[string]uint64, data map[string]string) {
	t.Helper()
	killChild(t, childEnv+"="+dir, n, func(line string) error {
		key, rest, _ := strings.Cut(line, " ")
		var revision uint64
		if _, err := fmt.Sscan(rest, &revision); err != nil {
			return err
		}
		// Lines are not in order; a cut one has no complete object.
		if _, object, _ := strings.Cut(rest, " "); revision > acked[key] && strings.HasSuffix(object, "}") {
			acked[key], data[key] = revision, object
		}
		return nil
	})
}

// killChild runs this program with env, which makes it write and say a line for each write
// that was acknowledged, kills it at the line n, and gives all lines to take. The last one may
// be cut.
func killChild(t *testing.T, env string, n int, take func(line string) error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err := take(lines.Text()); err != nil {
			if i > n {
				break // The line that the kill has cut.
			}
			t.Fatalf("the writer says %q", lines.Text())
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	tests := map[string]struct{ file, content, want string }{
		"current names nothing": {"CURRENT", "\x00\x00", "CURRENT"},
		"current names a ghost": {"CURRENT", "state-000099\n", "state-000099"},
		"manifest":              {"state-000001/MANIFEST", "garbage garbage", "state-000001"},
		"snapshot":              {"snapshots/00000000000000000002-00000000000000000022.json", "{", "snapshots/"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := testConfig(dir)
			cfg.TrailingEntries = 1 // The log does not have everything.
			s := open(t, cfg)
			for range 20 {
				mustPut(t, s, "pods/a/x", "1")
			}
			if err := s.TakeSnapshot(); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(context.Background(), testConfig(dir))
			if err == nil {
				closeStore(t, s)
				t.Fatal("the damage went unnoticed")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("the error does not name %s: %v", tc.want, err)
			}
			t.Log(err)
		})
	}
}

func TestFullDiskIsRefusedBeforehand(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testConfig(dir))
	mustPut(t, s, "pods/a/x", "1")
	mustPut(t, s, "pods/a/y", "1")
	free := s.Stats().FreeBytes
	closeStore(t, s)

	cfg := testConfig(dir)
	cfg.MinFreeBytes = free + free/2 // Too much for creations, not for deletions.
	s = open(t, cfg)
	_, err := put(s, "pods/a/x", "2", store.Any)
	wantErr(t, "write to a full disk", err, store.ErrNoSpace)
	if _, err := remove(s, "pods/a/y", store.Any); err != nil {
		t.Fatalf("deletions help and may use some of the reserve: %v", err)
	}
	if o, err := s.Get(context.Background(), "pods/a/x"); err != nil || check(t, o.Data, o.Revision) != "1" {
		t.Fatalf("a full disk stops reads: %v", err)
	}
}

func TestGivenUpWrites(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	data, at := document("1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 200 {
		key := store.Key(fmt.Sprint("pods/a/p", i))
		_, err := s.Write(ctx, store.Write{Key: key, Data: data, RevisionAt: at})
		if err == nil || errors.Is(err, store.ErrUnknownOutcome) {
			continue
		}
		wantErr(t, "given up", err, context.Canceled)
		// Certainly not written, then and later.
		mustPut(t, s, "pods/b/barrier", "1")
		if _, err := s.Get(context.Background(), key); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("%s was written although its caller was told otherwise", key)
		}
	}
}
