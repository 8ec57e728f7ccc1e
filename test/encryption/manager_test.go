package encryption

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

// keyManager builds the example plugin and returns its path and checksum.
func keyManager(t *testing.T) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keyfile")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	build.Dir = "../../sdk/examples/keyfile"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the key manager: %v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(b)
	return path, hex.EncodeToString(digest[:])
}

func ready(c kubernetes.Interface) error {
	out, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").Do(context.Background()).Raw()
	if err != nil {
		return errors.New(string(out))
	}
	if !strings.Contains(string(out), "[+]kms ok") {
		return fmt.Errorf("it does not mention the key manager: %s", out)
	}
	return nil
}

func TestAKeyManager(t *testing.T) {
	keys := t.TempDir()
	addKey := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(keys, name+".key"), []byte(strings.Repeat(hex.EncodeToString([]byte{byte(len(name))}), 32)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addKey("a")
	path, sum := keyManager(t)
	s := process.Start(t, process.Pintle(), fmt.Sprintf(`plugins:
- {name: keyfile, path: %s, sha256: %s, files: [{path: %s}], settings: {directory: %s}}
store: {encryption: {resources: [secrets], keys: {plugin: keyfile}}}
`, path, sum, keys, keys))
	c := client(t, s)
	createSecret(t, c, "s", "hidden")
	settled(t, s, "the key manager's key wraps", func(st status) bool {
		return st.KeyID == "a" && len(st.DataKeys) == 1 && st.DataKeys[0].KeyID == "a" && st.Pending == 0
	})
	if err := ready(c); err != nil {
		t.Error(err)
	}

	// Killed, it is started again; what is in memory is served all the while.
	pids, err := children(s.PID(), path)
	if err != nil || len(pids) != 1 {
		t.Fatalf("processes of the key manager: %v, %v", pids, err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantSecret(t, c, "s", "hidden")
	createSecret(t, c, "s2", "hidden")
	process.Eventually(t, 20*time.Second, "the key manager is back", func() error { return ready(c) })

	// Without its keys it is no use: the server that runs goes on, another start is refused.
	key := filepath.Join(keys, "a.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	st, err := statusOf(t, s)
	if err != nil || !strings.Contains(st.Problem, "key manager keyfile") {
		t.Errorf("status without keys: %+v, %v", st, err)
	}
	wantSecret(t, c, "s", "hidden")
	createSecret(t, c, "s3", "hidden")
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	s.End(syscall.SIGKILL)
	s.Start()
	c = client(t, s)
	for _, name := range []string{"s", "s2", "s3"} {
		wantSecret(t, c, name, "hidden")
	}
	if pids, err := children(s.PID(), path); err != nil || len(pids) != 1 {
		t.Errorf("processes of the key manager after a crash of the server: %v, %v", pids, err)
	}
	addKey("bb")
	if _, err := pintle(t, "encryption", "status", "--data-dir", s.Data()); err != nil {
		t.Error(err)
	}
	s.End(syscall.SIGTERM)
	s.Start() // asks at once; a running server would within a minute
	settled(t, s, "the key manager's new key wraps", func(st status) bool {
		last := len(st.DataKeys) - 1
		return st.KeyID == "bb" && st.Pending == 0 && last == 1 && st.DataKeys[last].Objects == 3 && st.DataKeys[0].KeyID == "bb"
	})
}

// children lists the children of a process that run a program.
func children(parent int, program string) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue // The thread has ended.
		}
		for _, field := range strings.Fields(string(raw)) {
			exe, err := os.Readlink("/proc/" + field + "/exe")
			if err != nil || exe != program {
				continue
			}
			var pid int
			if _, err := fmt.Sscan(field, &pid); err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
