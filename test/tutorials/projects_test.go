package tutorials

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pintle-dev/pintle/test/process"
)

var kindLine = regexp.MustCompile(`(?m)^  ([a-z-]+)  +\S`)

// Each kind of project builds and passes its own tests as it is written.
func TestProjects(t *testing.T) {
	home := t.TempDir()
	env := environment(t, home)
	run := func(t *testing.T, dir, name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	found := kindLine.FindAllStringSubmatch(run(t, home, process.Pintle(), "plugin", "new", "--help"), -1)
	if len(found) < 3 {
		t.Fatalf("kinds: %v", found)
	}
	for i, kind := range found {
		t.Run(kind[1], func(t *testing.T) {
			if i > 0 && !*all {
				t.Skip("run with -args -all")
			}
			name := "my-" + kind[1]
			run(t, home, process.Pintle(), "plugin", "new", name, "--kind", kind[1], "--group", "stranger.example.com")
			dir := filepath.Join(home, name)
			run(t, dir, "./ci.sh")
			for _, file := range []string{"build/plugin", "build/plugin.yaml"} {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%s", run(t, dir, process.Pintle(), "plugin", "docs", "build"))
		})
	}
}
