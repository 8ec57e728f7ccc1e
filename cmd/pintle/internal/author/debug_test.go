package author_test

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/author"
)

const ticking = `package main

import (
	"fmt"
	"time"
)

func main() {
	for i := 0; ; i++ {
		fmt.Println(i)
		time.Sleep(10 * time.Millisecond)
	}
}
`

// A process goes on while Delve waits for a client, and after it has gone.
func TestDebug(t *testing.T) {
	if _, err := author.FindDelve(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plugin.yaml": "{apiVersion: core.pintle.dev/v1, kind: PluginManifest, name: a, version: 0.1.0, protocol: 1, points: [controller]}",
		"go.mod":      "module example.dev/a\n\ngo 1.26\n",
		"main.go":     ticking,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := author.Build(t.Context(), dir, filepath.Join(dir, author.BuildDir), true)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), b.Binary)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	ticks := func(when string) {
		t.Helper()
		for range 3 {
			if !lines.Scan() {
				t.Fatalf("%s: the process has ended: %v", when, lines.Err())
			}
		}
	}
	ticks("before")
	socket := author.SocketFor(b.Dir, "a")
	var said bytes.Buffer
	d, err := author.Debug(t.Context(), cmd.Process.Pid, socket, &said)
	if err != nil {
		t.Skipf("this machine does not let Delve attach: %v\n%s", err, said.String())
	}
	ticks("attached")
	conn, err := net.DialTimeout("unix", socket, 10*time.Second)
	if err != nil {
		t.Fatalf("nobody listens on %s: %v", socket, err)
	}
	_ = conn.Close()
	d.Close()
	ticks("after")
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket was left behind")
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	if err == nil && !strings.Contains(string(status), "TracerPid:\t0\n") {
		t.Error("the process is still held")
	}
}
