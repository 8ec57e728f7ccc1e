package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/kms"
)

// server is a store with a keyring.
type server struct {
	*store.Store
	keys *encryption.Keyring
	stop func()
}

func testLog() *slog.Logger {
	if os.Getenv("PINTLE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func resources(t testing.TB, names ...string) encryption.Resources {
	t.Helper()
	r, err := encryption.ParseResources(names)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// try opens a store with a keyring, whose Run goes on until the test ends or stop is called.
func try(t testing.TB, dir string, cfg encryption.Config) (*server, error) {
	t.Helper()
	return tryStore(t, store.Config{Dir: dir, Bootstrap: true, MinFreeBytes: 1 << 20, Logger: testLog()}, cfg)
}

func tryStore(t testing.TB, of store.Config, cfg encryption.Config) (*server, error) {
	t.Helper()
	cfg.Logger, cfg.Rate = testLog(), 100_000
	if cfg.Poll == 0 {
		cfg.Poll = 10 * time.Millisecond
	}
	keys, err := encryption.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	of.Sealer = keys
	s, err := store.Open(ctx, of)
	if err != nil {
		cancel()
		return nil, err
	}
	keys.Attach(s)
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	sv := &server{Store: s, keys: keys}
	sv.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(sv.stop)
	return sv, nil
}

func start(t testing.TB, dir string, cfg encryption.Config) *server {
	t.Helper()
	s, err := try(t, dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) put(t testing.TB, key, value string) {
	t.Helper()
	w := store.Write{Key: store.Key(key), Data: []byte(`{"rv":"","value":"` + value + `"}`), RevisionAt: 7, Expect: store.Any}
	if _, err := s.Write(context.Background(), w); err != nil {
		t.Fatal(err)
	}
}

func (s *server) want(t testing.TB, key, value string) {
	t.Helper()
	o, err := s.Get(context.Background(), store.Key(key))
	if want := fmt.Sprintf(`{"rv":"%d","value":"%s"}`, o.Revision, value); err != nil || string(o.Data) != want {
		t.Errorf("%s: %s, %v, want %s", key, o.Data, err, want)
	}
}

// settled waits until nothing is left to be written again, and returns the status.
func (s *server) settled(t testing.TB, good func(encryption.Status) bool) encryption.Status {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st, err := s.keys.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if good(st) {
			return st
		}
		if time.Now().After(deadline) {
			t.Fatalf("it stays %+v", st)
		}
	}
}

func keyFile(t testing.TB, names ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	for _, name := range names {
		if err := encryption.AddKey(path, name, false); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestSwitchingOnSealsWhatIsThereAndSwitchingOffOpensIt(t *testing.T) {
	dir, file := t.TempDir(), keyFile(t, "k1")
	off := encryption.Config{KeyFile: file}
	on := encryption.Config{KeyFile: file, Resources: resources(t, "secrets")}
	const n = 50
	s := start(t, dir, off)
	for i := range n {
		s.put(t, fmt.Sprintf("secrets/a/%d", i), fmt.Sprint("hidden", i))
		s.put(t, fmt.Sprintf("pods/a/%d", i), "shown")
	}
	if st, err := s.keys.Status(context.Background()); err != nil || len(st.DataKeys) != 0 || len(st.Resources) != 0 {
		t.Errorf("before: %+v, %v", st, err)
	}
	s.stop()

	s = start(t, dir, on)
	st := s.settled(t, func(st encryption.Status) bool { return st.Pending == 0 })
	want := encryption.ResourceStatus{Name: "secrets", Encrypted: n, Wanted: true}
	if len(st.Resources) != 1 || st.Resources[0] != want || len(st.DataKeys) != 1 || st.DataKeys[0].Objects != n || !st.DataKeys[0].Current {
		t.Errorf("switched on: %+v", st)
	}
	s.want(t, "secrets/a/7", "hidden7")
	s.stop()

	s = start(t, dir, on)
	s.want(t, "secrets/a/7", "hidden7")
	revision := s.Revision()
	s.settled(t, func(st encryption.Status) bool { return st.Pending == 0 })
	if s.Revision() != revision {
		t.Errorf("a restart alone has written: %d, %d before", s.Revision(), revision)
	}
	s.stop()

	off.ForgetAfter = time.Millisecond
	s = start(t, dir, off)
	s.settled(t, func(st encryption.Status) bool { return len(st.Resources) == 0 })
	s.want(t, "secrets/a/7", "hidden7")
	s.stop()
	if _, err := store.Open(context.Background(), store.Config{Dir: dir, MinFreeBytes: 1 << 20, Logger: testLog()}); err != nil {
		t.Errorf("without keys, when nothing is encrypted any more: %v", err)
	}
}

func TestANewFirstKeyInTheFileEncryptsEverythingAnew(t *testing.T) {
	dir, file := t.TempDir(), keyFile(t, "k1")
	cfg := encryption.Config{KeyFile: file, Resources: resources(t, "secrets"), ForgetAfter: time.Millisecond}
	s := start(t, dir, cfg)
	for i := range 20 {
		s.put(t, fmt.Sprintf("secrets/a/%d", i), "hidden")
	}
	if err := encryption.AddKey(file, "k2", false); err != nil {
		t.Fatal(err)
	}
	st := s.settled(t, func(st encryption.Status) bool {
		last := len(st.DataKeys) - 1
		return st.KeyID == "k2" && st.Pending == 0 && last >= 0 && st.DataKeys[last].Objects == 20 && st.DataKeys[last].ID > 1
	})
	for _, d := range st.DataKeys {
		if d.KeyID != "k2" {
			t.Errorf("data key %d is still wrapped by %s", d.ID, d.KeyID)
		}
	}
	s.stop()
	// The first key is not needed any more.
	only := keyFile(t)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if err := os.WriteFile(only, []byte(text[:strings.Index(text, "- name: k1")]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.KeyFile = only
	s = start(t, dir, cfg)
	s.want(t, "secrets/a/3", "hidden")
}

func TestRotateAndForgetOldDataKeys(t *testing.T) {
	cfg := encryption.Config{KeyFile: keyFile(t, "k1"), Resources: resources(t, "secrets"), ForgetAfter: 10 * time.Millisecond}
	s := start(t, t.TempDir(), cfg)
	rotate := func() {
		t.Helper()
		if err := s.keys.Rotate(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	rotate()
	rotate()
	// The first was never used.
	s.settled(t, func(st encryption.Status) bool { return len(st.DataKeys) == 1 && st.DataKeys[0].ID == 2 })
	s.put(t, "secrets/a/x", "hidden")
	rotate()
	st := s.settled(t, func(st encryption.Status) bool {
		return st.Pending == 0 && st.DataKeys[len(st.DataKeys)-1].Objects == 1
	})
	if n := len(st.DataKeys); st.DataKeys[n-1].ID != 3 || !st.DataKeys[n-1].Current {
		t.Errorf("after a rotation: %+v", st)
	}
	s.want(t, "secrets/a/x", "hidden")
	// The history still has what the second has sealed.
	rotate()
	for range 3 {
		st = s.settled(t, func(st encryption.Status) bool { return st.Pending == 0 && st.DataKeys[len(st.DataKeys)-1].ID == 4 })
		if st.DataKeys[0].ID != 2 {
			t.Errorf("forgotten: %+v", st)
		}
		time.Sleep(2 * cfg.ForgetAfter)
	}
	h, err := s.History(context.Background(), "secrets/a/x", 0)
	if err != nil || len(h.Changes) < 2 {
		t.Errorf("history: %+v, %v", h, err)
	}
	off, err := encryption.New(encryption.Config{KeyFile: cfg.KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	if err := off.Rotate(context.Background()); err == nil || !strings.Contains(err.Error(), "resources is empty") {
		t.Errorf("rotation of nothing: %v", err)
	}
}

func TestKeysThatDoNotFitKeepAServerFromStarting(t *testing.T) {
	dir, file := t.TempDir(), keyFile(t, "k1")
	s := start(t, dir, encryption.Config{KeyFile: file, Resources: resources(t, "secrets")})
	s.put(t, "secrets/a/x", "hidden")
	s.stop()
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"another name":   {keyFile(t, "k2"), `data key 1 can't be unwrapped: key "k1" is not in `},
		"another secret": {keyFile(t, "k1"), `data key 1 can't be unwrapped: key "k1" in `},
	} {
		if _, err := try(t, dir, encryption.Config{KeyFile: c.file, Resources: resources(t, "secrets")}); err == nil ||
			!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := try(t, dir, encryption.Config{KeyFile: filepath.Join(dir, "none"), Resources: resources(t, "secrets")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := store.Open(context.Background(), store.Config{Dir: dir, MinFreeBytes: 1 << 20, Logger: testLog()}); !errors.Is(err, store.ErrSealed) {
		t.Errorf("no keys: %v", err)
	}
	if _, err := try(t, dir, encryption.Config{Plugin: "p", Manager: &manager{}}); err == nil || !strings.Contains(err.Error(), "no file is configured") {
		t.Errorf("a plugin instead: %v", err)
	}
	start(t, dir, encryption.Config{KeyFile: file}).want(t, "secrets/a/x", "hidden")
}

func TestWhatALostKeyHasSealedCanBeGivenUp(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	cfg := encryption.Config{KeyFile: keyFile(t, "lost"), Resources: resources(t, "secrets")}
	s := start(t, dir, cfg)
	s.put(t, "secrets/a/x", "hidden")
	s.put(t, "secrets/a/y", "hidden")
	s.put(t, "pods/a/x", "shown")
	s.stop()
	cfg.KeyFile, cfg.AllowMissing = keyFile(t, "fresh"), true
	s = start(t, dir, cfg)
	if _, err := s.Get(ctx, "secrets/a/x"); !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), `data key 1 can't be unwrapped: key "lost" is not in `+cfg.KeyFile) {
		t.Errorf("what is lost: %v", err)
	}
	s.want(t, "pods/a/x", "shown")
	s.put(t, "secrets/a/new", "hidden")
	s.put(t, "secrets/a/x", "again")
	if _, err := s.Write(ctx, store.Write{Key: "secrets/a/y", Delete: true, Expect: store.Any}); err != nil {
		t.Error(err)
	}
	s.want(t, "secrets/a/new", "hidden")
	s.want(t, "secrets/a/x", "again")
	if err := s.keys.Ready(ctx); err != nil {
		t.Errorf("not ready: %v", err)
	}
	st := s.settled(t, func(st encryption.Status) bool {
		return st.Pending == 0 && st.DataKeys[len(st.DataKeys)-1].Objects == 2
	})
	if st.DataKeys[0].Problem == "" || st.DataKeys[0].Objects != 0 {
		t.Errorf("status: %+v", st)
	}
	s.stop()
	start(t, dir, cfg).want(t, "secrets/a/x", "again")
}

func TestAFileThatIsNoGoodChangesNothing(t *testing.T) {
	dir, file := t.TempDir(), keyFile(t, "k1")
	s := start(t, dir, encryption.Config{KeyFile: file, Resources: resources(t, "secrets")})
	s.put(t, "secrets/a/x", "hidden")
	other, err := os.ReadFile(keyFile(t, "k2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{[]byte("keys: []"), other} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			s.put(t, "secrets/a/y", "more")
			time.Sleep(10 * time.Millisecond) // for the file to be seen; seeing it later changes nothing either
		}
		if st, err := s.keys.Status(context.Background()); err != nil || st.KeyID != "k1" || len(st.DataKeys) != 1 {
			t.Errorf("status: %+v, %v", st, err)
		}
	}
	s.want(t, "secrets/a/x", "hidden")
}

func TestDataKeysAreUsedForABoundedNumberOfSeals(t *testing.T) {
	s := start(t, t.TempDir(), encryption.Config{KeyFile: keyFile(t, "k1"), Resources: resources(t, "secrets")})
	ctx := context.Background()
	s.put(t, "secrets/a/x", "hidden")
	reserved := func(id uint64) string {
		t.Helper()
		o, err := s.Get(ctx, encryption.RecordKey(id))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(o.Data), `"reserved":`)
		return strings.TrimRight(rest, "}")
	}
	if got := reserved(1); got != fmt.Sprint(encryption.BlockSeals) {
		t.Errorf("reserved %s", got)
	}
	// A block ends in the middle of concurrent writes.
	s.keys.UseUp(5)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { s.put(t, fmt.Sprintf("secrets/a/%d", i), "hidden") })
	}
	all.Wait()
	if got := reserved(1); got != fmt.Sprint(2*encryption.BlockSeals) {
		t.Errorf("reserved %s", got)
	}
	// The last block of a data key is taken.
	o, err := s.Get(ctx, encryption.RecordKey(1))
	if err != nil {
		t.Fatal(err)
	}
	full := strings.Replace(string(o.Data), `"reserved":`+reserved(1), fmt.Sprintf(`"reserved":%d`, encryption.MaxSeals), 1)
	if _, err := s.Write(ctx, store.Write{Key: o.Key, Data: []byte(full), RevisionAt: -1, Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
	s.keys.UseUp(0)
	s.put(t, "secrets/a/x", "more")
	st, err := s.keys.Status(ctx)
	if err != nil || len(st.DataKeys) != 2 || st.DataKeys[1].Objects != 1 || st.DataKeys[0].Objects != 20 || st.Pending != 0 {
		t.Errorf("a data key that is used up: %+v, %v", st, err)
	}
}

// manager is a key manager that can be away, and change its key.
type manager struct {
	mu   sync.Mutex
	away bool
	id   string
}

var errAway = errors.New("the key manager is away")

func (m *manager) set(away bool, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away, m.id = away, id
}

func (m *manager) Status(context.Context) (kms.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return kms.Status{}, errAway
	}
	return kms.Status{KeyID: m.id}, nil
}

func (m *manager) Wrap(ctx context.Context, key []byte) (kms.Wrapped, error) {
	st, err := m.Status(ctx)
	return kms.Wrapped{KeyID: st.KeyID, Data: turned(key)}, err
}

func (m *manager) Unwrap(ctx context.Context, w kms.Wrapped) ([]byte, error) {
	_, err := m.Status(ctx)
	return turned(w.Data), err
}

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

func TestAKeyManagerThatGoesAway(t *testing.T) {
	dir, m := t.TempDir(), &manager{id: "hsm-1"}
	cfg := encryption.Config{Plugin: "hsm", Manager: m, Resources: resources(t, "secrets"), StartTimeout: 500 * time.Millisecond}
	ctx := context.Background()
	s := start(t, dir, cfg)
	s.put(t, "secrets/a/x", "hidden")
	ready := func(want error) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for !errors.Is(s.keys.Ready(ctx), want) {
			if time.Now().After(deadline) {
				t.Fatalf("readiness stays %v", s.keys.Ready(ctx))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	ready(nil)
	m.set(true, "")
	ready(errAway)
	s.want(t, "secrets/a/x", "hidden")
	s.put(t, "secrets/a/x", "more")
	if st, err := s.keys.Status(ctx); err != nil || !strings.Contains(st.Problem, "away") {
		t.Errorf("status: %+v, %v", st, err)
	}
	s.stop()
	if _, err := try(t, dir, cfg); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "data key 1 can't be unwrapped") {
		t.Errorf("start without the key manager: %v", err)
	}
	cfg.StartTimeout = 20 * time.Second
	back := time.AfterFunc(300*time.Millisecond, func() { m.set(false, "hsm-1") })
	defer back.Stop()
	s = start(t, dir, cfg)
	s.want(t, "secrets/a/x", "more")
	m.set(false, "hsm-2")
	s.settled(t, func(st encryption.Status) bool {
		last := st.DataKeys[len(st.DataKeys)-1]
		return st.KeyID == "hsm-2" && st.Pending == 0 && last.ID == 2 && last.Objects == 1 && st.DataKeys[0].KeyID == "hsm-2"
	})
	s.stop()

	// From the key manager to a file.
	cfg.KeyFile, cfg.PreferFile = keyFile(t, "k1"), true
	s = start(t, dir, cfg)
	s.settled(t, func(st encryption.Status) bool {
		for _, d := range st.DataKeys {
			if d.WrappedBy != "file" {
				return false
			}
		}
		return st.Pending == 0
	})
	s.stop()
	s = start(t, dir, encryption.Config{KeyFile: cfg.KeyFile, Resources: cfg.Resources})
	s.want(t, "secrets/a/x", "more")
}
