package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/pintle-dev/pintle/core/host"
)

// TestPluginsFromKeygenToVerify goes the way of an author and of an operator, by commands alone.
func TestPluginsFromKeygenToVerify(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/acme/widget"
	home := t.TempDir()
	t.Chdir(home)
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("PINTLE_KEY_PASSWORD", "open sesame")
	run := func(args ...string) (string, error) {
		t.Helper()
		cmd := newPlugin()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("dist/plugin.yaml", "apiVersion: core.pintle.dev/v1\nkind: PluginManifest\nname: widget\nversion: 1.2.0\nprotocol: 1\npoints: [controller]\n"+
		"permissions:\n- {apiGroups: [example.dev], resources: [widgets], verbs: [get]}\n")
	write("dist/plugin", "#!/bin/sh\n")
	must("keygen", "-o", "acme")
	if _, err := run("keygen", "-o", "acme"); err == nil || !strings.Contains(err.Error(), "acme.key exists") {
		t.Errorf("a key was overwritten: %v", err)
	}
	if st, err := os.Stat("acme.key"); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	must("push", "dist", ref)
	if _, err := run("verify", "--data-dir", "none", ref); err == nil || !strings.Contains(err.Error(), "it is not signed") {
		t.Errorf("unsigned: %v", err)
	}
	must("verify", "--data-dir", "none", "--allow-unsigned", ref)
	must("sign", ref+":1.2.0", "--key", "acme.key")
	t.Setenv("PINTLE_KEY_PASSWORD", "wrong")
	if _, err := run("sign", ref+":1.2.0", "--key", "acme.key"); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a wrong password: %v", err)
	}
	var report pluginReport
	if err := json.Unmarshal([]byte(must("verify", "--data-dir", "none", "--key", "acme.pub", ref, "-o", "json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.SignedBy != "acme.pub" || report.Version != "1.2.0" || report.Tag != "1.2.0" || len(report.Problems) > 0 {
		t.Errorf("%+v", report)
	}
	// The configuration's keys, a mirror, and no registry.
	must("pull", ref, "--version", "~1.2", "--mirror", "mirror")
	must("pull", ref, "--output", "out")
	server.Close()
	write("pintle.yaml", "pluginTrust:\n  keys: [{name: acme, file: acme.pub}]\n  mirror: mirror\n  offline: true\n")
	if out := must("verify", "--config", "pintle.yaml", ref); !strings.Contains(out, "Signed by:         acme\n") || !strings.Contains(out, "get widgets (example.dev)") {
		t.Error(out)
	}
	must("verify", "--config", "pintle.yaml", "./out")
	write("out/plugin", "#!/bin/sh\nrm -rf /\n")
	if _, err := run("verify", "--config", "pintle.yaml", "./out"); err == nil || !strings.Contains(err.Error(), "its signature is bad") {
		t.Errorf("tampered: %v", err)
	}
}

func TestPluginSource(t *testing.T) {
	object := func(spec string) map[string]any {
		var o map[string]any
		if err := json.Unmarshal([]byte(`{"spec":`+spec+`,"status":{"sha256":"abc"}}`), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	s, running, err := pluginSource("widget", object(`{"source":{"oci":"r.example.com/widget"},"version":"~1","sha256":"def","allowUnsigned":true}`), host.Source{Version: "~2"})
	if want := (host.Source{OCI: "r.example.com/widget", Version: "~2", SHA256: "def", AllowUnsigned: true}); err != nil || s != want || running != "abc" {
		t.Errorf("%+v, %q, %v", s, running, err)
	}
	if _, _, err := pluginSource("scheduler", object(`{"placement":"process"}`), host.Source{}); err == nil || !strings.Contains(err.Error(), "part of pintle itself") {
		t.Error(err)
	}
}
