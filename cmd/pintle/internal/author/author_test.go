package author_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/author"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.dev}
spec:
  group: example.dev
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        description: Widget is a thing with a size.
        properties:
          apiVersion: {type: string}
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, format: int32, minimum: 1, maximum: 100, description: "Size in teeth"}
              colour: {type: string, enum: [red, green], default: red, description: "Paint: a|b"}
              parts:
                type: array
                maxItems: 3
                items: {type: object, properties: {name: {type: string, pattern: "^a|b$"}}}
              labels: {type: object, additionalProperties: {type: string}}
`

func TestReference(t *testing.T) {
	defs, err := resource.FromCRD([]byte(widgets))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = author.Reference(&out, &author.Answers{
		Info: plugin.Info{
			Name: "widget", Version: "0.1.0", Description: "Widgets",
			Permissions: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}},
		},
		Points:   []protocol.Point{protocol.PointResource, protocol.PointController},
		Settings: []byte(`{"type":"object","required":["name"],"properties":{"greeting":{"type":"string","minLength":1,"default":"Hello"},"name":{"type":"string"}}}`),
		Types:    defs,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# widget 0.1.0\n",
		"Extension points: `resource`, `controller`\n",
		"| `greeting` | string | `\"Hello\"` | At least 1 characters. |\n",
		"| `name` | string |  | Required. |\n",
		"### Widget\n", "#### example.dev/v1\n", "Short for it: `wd`.", "Subresources: `status`.",
		"| `spec.size` | integer (int32) |  | Size in teeth. Required. At least 1. At most 100. |\n",
		"| `spec.colour` | string | `\"red\"` | Paint: a\\|b. One of `\"red\"`, `\"green\"`. |\n",
		"| `spec.parts` | list of object |  | At most 3 items. |\n",
		"| `spec.parts[].name` | string |  | Matches `^a\\|b$`. |\n",
		"| `spec.labels` | map of string |  |  |\n",
		"Columns of `kubectl get`: SIZE.\n",
		"| core | `configmaps` | get, list |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(out.String(), "apiVersion`") {
		t.Error("it describes what every type has")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(time.Now().String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("main.go")
	write("build/plugin")
	changes, err := author.Watch(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not noticed", what)
		}
	}
	for _, name := range []string{"build/plugin", ".git/index", "main_test.go", "README.md", ".pintle-dev/plugin"} {
		write(name)
	}
	select {
	case <-changes:
		t.Error("what a plugin is not built of is noticed")
	case <-time.After(500 * time.Millisecond):
	}
	write("main.go")
	expect("a change")
	write("crds/a.yaml")
	expect("a new folder")
	write("crds/a.yaml")
	expect("a change in a new folder")
	if err := os.Remove(filepath.Join(dir, "main.go")); err != nil {
		t.Fatal(err)
	}
	expect("a file that has gone")
}

// lines collects what is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) wait(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		got := l.text.String()
		l.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{more: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- author.Follow(ctx, file, out, true) }()
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	add("one\n")
	out.wait(t, "one\n")
	add("two\n")
	out.wait(t, "one\ntwo\n")
	add("three\n")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	add("four\n")
	out.wait(t, "one\ntwo\nthree\nfour\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	build := func() error {
		_, err := author.Build(t.Context(), dir, filepath.Join(dir, author.BuildDir), false)
		return err
	}
	if err := build(); err == nil || !strings.Contains(err.Error(), "there is no plugin.yaml") {
		t.Errorf("an empty directory: %v", err)
	}
	for name, text := range map[string]string{
		"plugin.yaml": "{apiVersion: core.pintle.dev/v1, kind: PluginManifest, name: a, version: 0.1.0, protocol: 1, points: [controller], binary: it}",
		"go.mod":      "module example.dev/a\n\ngo 1.26\n",
		"main.go":     "package main\n\nfunc main() { nothing() }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var broken *author.CompileError
	if err := build(); !errors.As(err, &broken) || !strings.Contains(broken.Output, "undefined: nothing") {
		t.Errorf("what does not compile: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := author.Build(t.Context(), dir, filepath.Join(dir, author.BuildDir), false)
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest.Name != "a" || len(b.SHA256) != 64 || filepath.Base(b.Binary) != "it" {
		t.Errorf("%+v", b)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "plugin.yaml")); err != nil {
		t.Error(err)
	}
}

func TestDebuggerThatIsNotThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := author.Debug(t.Context(), os.Getpid(), filepath.Join(t.TempDir(), "s"), os.Stderr); err == nil || !strings.Contains(err.Error(), "go install github.com/go-delve/delve") {
		t.Errorf("got %v", err)
	}
}

func TestOnThisMachine(t *testing.T) {
	for server, here := range map[string]bool{
		"https://127.0.0.1:6443": true, "https://[::1]:6443": true, "https://localhost": true, "https://127.8.9.10:1/prefix": true,
		"https://192.0.2.7:6443": false, "https://[2001:db8::7]:6443": false,
		"https://name.invalid:6443": true, "://": true, "": true,
	} {
		if err := author.OnThisMachine(t.Context(), server); (err == nil) != here {
			t.Errorf("%q: %v", server, err)
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if err := author.OnThisMachine(t.Context(), "https://"+net.JoinHostPort(n.IP.String(), "6443")); err != nil {
			t.Error(err)
		}
	}
}
