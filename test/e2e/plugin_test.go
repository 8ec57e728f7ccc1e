package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const widget = `
apiVersion: example.dev/v1
kind: Widget
metadata: {name: %s, namespace: %s}
spec: {size: %s}
`

func TestAThirdPartysPluginServesItsType(t *testing.T) {
	ns := namespace(t)
	waitHealthy(t, "widget", 20*time.Second, 0)
	apply(t, fmt.Sprintf(widget, "good", ns, "3"))
	eventually(t, 20*time.Second, "the controller reconciles the widget", func() error {
		out, err := try(t, "", cluster.pintle, "kubectl", "-n", ns, "get", "widget", "good", "-o", "jsonpath={.status}")
		if err == nil && out == "" {
			err = fmt.Errorf("no status yet")
		}
		return err
	})
	for _, tc := range []struct{ name, size, want string }{
		{"a wrong type", `"large"`, "spec.size"},
		{"out of bounds", "-1", "spec.size"},
	} {
		out, err := try(t, fmt.Sprintf(widget, "bad", ns, tc.size), cluster.pintle, "kubectl", "apply", "-f", "-")
		if err == nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s: got %v, want the field's path:\n%s", tc.name, err, out)
		}
	}
	if out := kubectl(t, "get", "plugins"); !strings.Contains(out, "widget") || !strings.Contains(out, "Healthy") {
		t.Errorf("get plugins:\n%s", out)
	}
	kubectl(t, "explain", "widget.spec")
}

// TestPluginsThatCantRunSayWhy uses a control plane of its own, without a node.
func TestPluginsThatCantRunSayWhy(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "silent")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	data := secondCluster(t, "16444", fmt.Sprintf(`
plugins:
  - {name: widget, path: %s, sha256: "%s"}
  - {name: silent, path: %s, sha256: "%s"}
`, filepath.Join(cluster.dir, "widget"), strings.Repeat("0", 64), silent, sha256File(t, silent)))
	for name, want := range map[string]string{"widget": "checksum", "silent": "handshake"} {
		eventually(t, 60*time.Second, name+" says why it does not run", func() error {
			out, err := try(t, "", cluster.pintle, "plugin", "info", name, "--data-dir", data)
			if err == nil && !strings.Contains(strings.ToLower(out), want) {
				err = fmt.Errorf("want %q in:\n%s", want, out)
			}
			return err
		})
	}
}
