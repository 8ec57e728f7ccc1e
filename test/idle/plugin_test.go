// Package idle holds the control plane and plugins to what they may cost when they have nothing
// to do.
package idle

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
)

// maxPluginKiB is what a plugin made with the SDK may take of memory of its own: what it has
// written, and its share of the pages of its program.
const maxPluginKiB = 15 << 10

func TestMemoryOfAPlugin(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how memory is counted is Linux's")
	}
	for _, tc := range []struct{ name, example string }{
		{"widget", "widget"},
		{"sites", "controller-runtime"}, // a manager of controller-runtime's in it
	} {
		t.Run(tc.name, func(t *testing.T) {
			program := build(t, "../../sdk/examples/"+tc.example, tc.name)
			t.Parallel()
			cluster.Start(t, cluster.Options{RBAC: true, Plugins: []cluster.Plugin{{Name: tc.name, Command: []string{program}}}})
			holds(t, maxPluginKiB, find(t, program))
		})
	}
}

// find returns the process of a program.
func find(t *testing.T, program string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range all {
		if target, err := os.Readlink(exe); err == nil && target == program {
			return filepath.Dir(exe)
		}
	}
	t.Fatalf("%s does not run", program)
	return ""
}
