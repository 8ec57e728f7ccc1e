package upgrade

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pintle-dev/pintle/test/process"
)

// pack builds a version of the plugin, and makes a directory of it.
func pack(t *testing.T, root, version string) string {
	t.Helper()
	dir := filepath.Join(root, "plugin-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(dir, "plugin"), "./tasks")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	manifest := fmt.Sprintf(`apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: tasks
version: %s
protocol: 1
points: [resource, controller, admission]
types: [tasks.upgrade.example]
permissions:
- {apiGroups: [upgrade.example], resources: [tasks], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, create]}
`, version)
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// release is what somebody has published.
type release struct {
	repository string
	// trust is the configuration of who trusts them.
	trust string
}

// publish signs versions of the plugin and pushes them to a registry on loopback, by the commands
// that people use.
func publish(t *testing.T, versions ...string) release {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	key := filepath.Join(dir, "test")
	r := release{
		repository: strings.TrimPrefix(server.URL, "http://") + "/upgrade/tasks",
		trust:      fmt.Sprintf("pluginTrust: {keys: [{name: test, file: %s.pub}]}\n", key),
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := process.Run(t.Context(), []string{"PINTLE_KEY_PASSWORD="}, process.Pintle(), append([]string{"plugin"}, args...)...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run("keygen", "-o", key)
	for _, version := range versions {
		plugin := pack(t, dir, version)
		run("sign", plugin, "--key", key+".key")
		run("push", plugin, r.repository)
	}
	return r
}
