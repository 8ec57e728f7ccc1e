package tutorials

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

var all = flag.Bool("all", false, "all pages and kinds of projects, not just the first")

// patience is how long a page may take. Most of it is the compiler's.
const patience = 10 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(process.Main(m, "../.."))
}

// pages of docs/tutorials, the first being the one that is always done.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../docs/tutorials/*-*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("there are no pages: %v", err)
	}
	slices.SortFunc(found, func(a, b string) int {
		first := func(s string) int {
			if filepath.Base(s) == "first-plugin.md" {
				return 0
			}
			return 1
		}
		return first(a) - first(b)
	})
	return found
}

func TestPages(t *testing.T) {
	for i, page := range pages(t) {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			if i > 0 && !*all {
				t.Skip("run with -args -all")
			}
			steps, err := readPage(page)
			if err != nil {
				t.Fatal(err)
			}
			follow(t, page, steps)
		})
	}
}

// environment of who follows a page: pintle is in the path, the SDK is this checkout, and the
// cluster's port is a free one.
func environment(t *testing.T, home string) []string {
	t.Helper()
	sdk, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(process.Pintle(), filepath.Join(bin, "pintle")); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "PINTLE") && !slices.Contains([]string{"KUBECONFIG", "PATH", "GOFLAGS"}, name) {
			env = append(env, v)
		}
	}
	return append(env,
		"PATH="+bin+":"+os.Getenv("PATH"), "PINTLE_SDK="+sdk,
		"PINTLE_API_LISTEN="+process.FreeAddress(t), "GOFLAGS=-buildvcs=false",
	)
}

// follow does what a page says. The shell announces each step on a file of its own, so that what
// a step prints is not touched.
func follow(t *testing.T, page string, steps []step) {
	t.Helper()
	home, err := os.MkdirTemp("", "pintle-t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	work := filepath.Join(home, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	env := environment(t, home)
	t.Cleanup(func() {
		// What a page that failed has left running.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		down := exec.CommandContext(ctx, process.Pintle(), "down", "--data-dir", filepath.Join(work, "cluster"))
		down.Env = env
		_ = down.Run()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script(home, steps))
	shell.Dir, shell.Env = work, env
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	var trouble bytes.Buffer
	shell.Stderr = &trouble
	began := time.Now()
	runErr := shell.Run()
	if shell.Process != nil {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // second terminals
	}
	for i, s := range steps {
		if s.script == "" {
			continue
		}
		out, err := os.ReadFile(outputOf(home, i))
		if err != nil {
			break // it did not come to that
		}
		where := fmt.Sprintf("%s:%d", page, s.line)
		if line := missing(string(out), s.wanted); line != "" {
			t.Errorf("%s: this was not printed: %s", where, line)
		}
		if t.Failed() || testing.Verbose() || runErr != nil {
			t.Logf("%s\n%s--\n%s", where, s.script, out)
		}
	}
	if runErr != nil {
		t.Fatalf("%s: the last of these steps failed: %v %s", page, runErr, trouble.String())
	}
	t.Logf("%d steps in %s", len(steps), time.Since(began).Round(time.Second))
}

func outputOf(home string, i int) string { return filepath.Join(home, fmt.Sprintf("step-%02d", i)) }

// script is one for bash, with each step's output in a file.
func script(home string, steps []step) string {
	var b strings.Builder
	b.WriteString("set -eu -o pipefail\nbeside=\n")
	for i, s := range steps {
		switch {
		case s.script == "":
			b.WriteString("for p in $beside; do kill -INT $p; done; wait $beside || :; beside=\n")
		case s.beside:
			// A job of its own gets signals as in a terminal of its own.
			fmt.Fprintf(&b, "set -m; (\nexec </dev/null\n%s) >%s 2>&1 & beside=\"$beside $!\"; set +m\n", lastReplaces(s.script), outputOf(home, i))
		default:
			fmt.Fprintf(&b, "{\n%s} >%s 2>&1\n", s.script, outputOf(home, i))
		}
	}
	return b.String()
}

// lastReplaces lets the last command of a block take the shell's place, so that it gets the
// signals that are meant for it.
func lastReplaces(block string) string {
	lines := strings.Split(strings.TrimSpace(block), "\n")
	lines[len(lines)-1] = "exec " + lines[len(lines)-1]
	return strings.Join(lines, "\n") + "\n"
}
