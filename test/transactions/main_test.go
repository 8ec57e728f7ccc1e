package transactions

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }

func config(t *testing.T, s *process.Server) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	return c
}

// shell runs pintle for a server.
type shell struct {
	t          *testing.T
	kubeconfig string
	dir        string
	stdin      string
}

func newShell(t *testing.T, s *process.Server) *shell {
	return &shell{t: t, kubeconfig: s.Kubeconfig(), dir: t.TempDir()}
}

// file writes a manifest, below the shell's folder.
func (s *shell) file(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// pintle runs a command, which ends well or not.
func (s *shell) pintle(args ...string) (out, errOut string, ok bool) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), process.Pintle(), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "TZ=UTC")
	cmd.Stdin = strings.NewReader(s.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), stderr.String(), err == nil
}

// must runs a command that has to end well, and returns what it prints.
func (s *shell) must(args ...string) string {
	s.t.Helper()
	out, errOut, ok := s.pintle(args...)
	if !ok {
		s.t.Fatalf("pintle %s: %s%s", strings.Join(args, " "), out, errOut)
	}
	return out
}

// refused runs a command that must not end well and say all of want.
func (s *shell) refused(args []string, want ...string) {
	s.t.Helper()
	out, errOut, ok := s.pintle(args...)
	if ok {
		s.t.Errorf("pintle %s ended well: %s", strings.Join(args, " "), out)
	}
	for _, w := range want {
		if !strings.Contains(errOut, w) {
			s.t.Errorf("pintle %s says\n%s\nwithout %q", strings.Join(args, " "), errOut, w)
		}
	}
}
