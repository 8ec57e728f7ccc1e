package build_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/build"
)

// A program that is built with a clock sees the wall clock where the file says, without a
// change of its source.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example\n\ngo 1.26\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\t\"time\"\n)\n\nfunc main() { fmt.Print(time.Now().Format(time.RFC3339)) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, offset := filepath.Join(dir, "program"), filepath.Join(dir, "offset")
	if err := build.Program(t.Context(), dir, ".", program, nil, "TEST_CLOCK"); err != nil {
		t.Fatal(err)
	}
	const ahead = 400 * 24 * time.Hour
	if err := os.WriteFile(offset, binary.NativeEndian.AppendUint64(nil, uint64(ahead)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "TEST_CLOCK="+offset)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen, err := time.Parse(time.RFC3339, strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Until(seen) - ahead; off.Abs() > time.Minute {
		t.Errorf("the program sees %s, which is off by %s", seen, off)
	}
}
