package encryption

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

// TestServersOfACluster: all of them keep what is encrypted, none has it readable on its disk, a
// killed leader leaves no work undone, and one without keys says so.
func TestServersOfACluster(t *testing.T) {
	keys, err := os.ReadFile(keyFile(t, "k1"))
	if err != nil {
		t.Fatal(err)
	}
	member := func(name string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(file, keys, 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(configuration, "secrets", file) + "name: " + name + "\n"
	}
	first := process.Start(t, process.Pintle(), member("a")+fmt.Sprintf("cluster: {listen: %q}\n", process.FreeAddress(t)))
	hidden := marker(t)
	for i := range 20 {
		createSecret(t, client(t, first), fmt.Sprintf("s-%d", i), hidden)
	}
	join := func() string {
		t.Helper()
		token, err := pintle(t, "server", "token", "--data-dir", first.Data())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("cluster: {listen: %q, join: %q, token: %q}\n", process.FreeAddress(t), "https://"+first.Address, strings.TrimSpace(token))
	}
	servers := []*process.Server{first}
	for _, name := range []string{"b", "c"} {
		servers = append(servers, process.Start(t, process.Pintle(), member(name)+join()))
	}
	process.Eventually(t, time.Minute, "all have a vote", func() error {
		out, err := pintle(t, "server", "list", "--data-dir", first.Data())
		if err != nil || strings.Count(out, "voter") != 2 || strings.Contains(out, "learner") {
			return errors.Join(errors.New(out), err)
		}
		return nil
	})
	for i, s := range servers {
		c := client(t, s)
		createSecret(t, c, fmt.Sprint("by-", i), hidden)
		wantSecret(t, c, "s-3", hidden)
	}
	for i, s := range servers {
		wantSecret(t, client(t, s), fmt.Sprint("by-", (i+1)%3), hidden)
		if files := filesWith(t, s, hidden); len(files) > 0 {
			t.Errorf("server %d has it readable in %v", i, files)
		}
	}

	// One without keys joins: it has nothing to show, and says why.
	learner := process.New(t, process.Pintle(), "plugins: []\nname: d\n"+strings.Replace(join(), "{", "{learner: true, ", 1))
	learner.Launch()
	process.Eventually(t, time.Minute, "the server without keys says so", func() error {
		select {
		case <-learner.Ended():
			t.Fatalf("it ended:\n%s", learner.Log())
		default:
		}
		if !strings.Contains(learner.Log(), "This server was given no keys") {
			return errors.New(learner.Log())
		}
		return nil
	})
	learner.End(syscall.SIGTERM)

	if _, err := pintle(t, "encryption", "rotate", "--data-dir", servers[1].Data()); err != nil {
		t.Fatal(err)
	}
	first.End(syscall.SIGKILL)
	for _, s := range servers[1:] {
		settled(t, s, "everything is encrypted with the second data key", func(st status) bool {
			last := len(st.DataKeys) - 1
			return last == 1 && st.Pending == 0 && st.DataKeys[1].Objects == 23 && st.DataKeys[1].Current
		})
		wantSecret(t, client(t, s), "s-3", hidden)
	}
	first.Start()
	settled(t, first, "the one that was killed has it all", func(st status) bool {
		return st.Pending == 0 && len(st.DataKeys) == 2 && st.DataKeys[1].Objects == 23
	})
	for i, s := range servers {
		if files := filesWith(t, s, hidden); len(files) > 0 {
			t.Errorf("at the end server %d has it readable in %v", i, files)
		}
	}
}
