package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/store"
)

// servers are three voters, each with a keyring and a file of keys of its own with the same keys.
func servers(t *testing.T, cfg encryption.Config) (nodes []*server, files []string) {
	t.Helper()
	keys, err := os.ReadFile(keyFile(t, "k1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		file := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(file, keys, 0o600); err != nil {
			t.Fatal(err)
		}
		one := cfg
		one.KeyFile = file
		s, err := tryStore(t, store.Config{
			Dir: t.TempDir(), NodeID: fmt.Sprint("s", i), Address: "127.0.0.1:0", Bootstrap: i == 0, MinFreeBytes: 1 << 20, Logger: testLog(),
		}, one)
		if err != nil {
			t.Fatal(err)
		}
		nodes, files = append(nodes, s), append(files, file)
		if i > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := nodes[0].AddVoter(ctx, fmt.Sprint("s", i), s.Address())
			cancel()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return nodes, files
}

// persist does what clients do whose server can't write for a while.
func persist(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || !errors.Is(err, store.ErrNotLeader) && !errors.Is(err, store.ErrUnknownOutcome) {
			t.Error(err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestServersOfAClusterShareDataKeys(t *testing.T) {
	nodes, files := servers(t, encryption.Config{Resources: resources(t, "secrets")})
	ctx := context.Background()
	const n = 30
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			persist(t, func() error {
				_, err := nodes[i%3].Write(ctx, store.Write{Key: store.Key(fmt.Sprintf("secrets/a/%d", i)),
					Data: []byte(`{"rv":"","value":"hidden"}`), RevisionAt: 7, Expect: store.Any})
				return err
			})
		})
	}
	all.Wait()
	complete := func(id uint64) func(encryption.Status) bool {
		return func(st encryption.Status) bool {
			last := len(st.DataKeys) - 1
			return last >= 0 && st.DataKeys[last].ID == id && st.DataKeys[last].Objects == n && st.Pending == 0
		}
	}
	for _, s := range nodes {
		s.settled(t, complete(1))
		for i := range n {
			s.want(t, fmt.Sprintf("secrets/a/%d", i), "hidden")
		}
	}
	// Any server rotates, the leader writes again.
	if err := nodes[2].keys.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range nodes {
		s.settled(t, complete(2))
	}

	// The new key reaches the leader first: the others can't use its data key until they have it.
	lead := 0
	for i, s := range nodes {
		if leads, _ := s.Leadership(); leads {
			lead = i
		}
	}
	if err := encryption.AddKey(files[lead], "k2", false); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(files[lead])
	if err != nil {
		t.Fatal(err)
	}
	late := nodes[(lead+1)%3]
	nodes[lead].settled(t, complete(3))
	deadline := time.Now().Add(20 * time.Second)
	for late.keys.Ready(ctx) == nil && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if err := late.keys.Ready(ctx); err == nil {
		t.Error("a server that can't use the newest data key is ready")
	}
	if _, err := late.Get(ctx, "secrets/a/1"); err != nil && !errors.Is(err, store.ErrSealed) {
		t.Error(err)
	}
	for i, file := range files {
		if i == lead {
			continue
		}
		tmp := file + ".new"
		if err := errors.Join(os.WriteFile(tmp, keys, 0o600), os.Rename(tmp, file)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range nodes {
		s.settled(t, func(st encryption.Status) bool { return complete(3)(st) && s.keys.Ready(ctx) == nil })
		s.want(t, "secrets/a/1", "hidden")
	}

	// A leader that is lost is replaced, and its work goes on.
	nodes[lead].stop()
	persist(t, func() error { return late.keys.Rotate(ctx) })
	late.settled(t, complete(4))
	late.want(t, "secrets/a/1", "hidden")
}
