package confine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// A host without rights says what it leaves out, and uses what anybody may.
func TestUnprivilegedHost(t *testing.T) {
	needsRoot(t) // to become somebody without rights
	top, err := os.MkdirTemp("", "confine")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	exe, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(exe)
	must(t, err, os.Chmod(top, 0o755), os.Mkdir(filepath.Join(top, "bin"), 0o755),
		os.WriteFile(filepath.Join(top, "bin", "guest"), program, 0o755),
		os.Mkdir(filepath.Join(top, "host"), 0o700), os.Mkdir(filepath.Join(top, "host", "own"), 0o700),
		os.WriteFile(filepath.Join(top, "host", "secret"), []byte("secret"), 0o600))
	const nobody = 65534
	for _, p := range []string{"host", "host/own", "host/secret"} {
		must(t, os.Chown(filepath.Join(top, p), nobody, nobody))
	}
	cmd := exec.Command(filepath.Join(top, "bin", "guest"), "play", "unprivileged", filepath.Join(top, "host"), listen(t))
	cmd.Dir, cmd.Env = "/", []string{"HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.SplitN(string(out), "\n", 2)
	var r confine.Report
	var s sight
	must(t, json.Unmarshal([]byte(lines[0]), &r), json.Unmarshal([]byte(lines[1]), &s))
	if r.UserID != nobody || len(r.Skipped) < 5 || !strings.Contains(strings.Join(r.Skipped, "\n"), "own user: the host does not run as root") {
		t.Errorf("report: %+v", r)
	}
	if s.Status["NoNewPrivs"] != "1" || s.Tried["own"] != "" {
		t.Errorf("it found %+v", s)
	}
	if slices.Contains(r.Measures, confine.LandlockFiles) {
		if s.Tried["read secret"] == "" || s.Tried["tmp"] == "" {
			t.Errorf("Landlock let through: %v", s.Tried)
		}
	} else {
		t.Logf("no Landlock here: %v", r.Skipped)
	}
	if slices.Contains(r.Measures, confine.LandlockNetwork) && s.Tried["tcp"] == "" {
		t.Error("Landlock let TCP through")
	}
}

// unprivileged is the host of the test above.
func unprivileged(args []string) {
	dir := args[0]
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	k, err := confine.New(confine.Config{Dir: dir})
	fail(err)
	exe, err := os.Executable()
	fail(err)
	own := filepath.Join(dir, "own")
	cell, err := k.Open(confine.Guest{Name: "guest", Write: []string{own}, Read: []string{filepath.Dir(exe)}})
	fail(err)
	report, err := json.Marshal(cell.Report())
	fail(err)
	fmt.Println(string(report))
	cmd := exec.Command(exe, "play", "look", filepath.Join(dir, "none.sock"), filepath.Join(dir, "secret"), own, args[1])
	cmd.Dir, cmd.Stdout, cmd.Stderr = own, os.Stdout, os.Stderr
	fail(cell.Start(cmd))
	fail(cmd.Wait())
	cell.Close()
}
