package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestGenerate(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chdir(here) })
	pkg := filepath.Join(here, "testdata", "widget")
	crds := t.TempDir()
	settings, copies := filepath.Join(pkg, settingsFile), filepath.Join(pkg, "zz_generated.deepcopy.go")
	t.Cleanup(func() {
		_ = os.Remove(settings)
		_ = os.Remove(copies)
	})
	if err := run(pkg, crds, []string{"."}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(crds, "example.dev_widgets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: widgets.example.dev", "minimum: 1", "default: red", "- wd", "jsonPath: .spec.size", "name is too long", "description: Size in teeth."} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the definition lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "annotations") {
		t.Errorf("the definition names a version of the generator:\n%s", text)
	}
	raw, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Type       string
		Properties map[string]struct {
			Type, Description string
			Default           any
			MinLength         int
		}
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	if g := schema.Properties["greeting"]; schema.Type != "object" || g.Default != "Hello" || g.MinLength != 1 || g.Description != "Greeting is the first word." {
		t.Errorf("settings: %s", raw)
	}
	if schema.Properties["ratio"].Type != "number" {
		t.Errorf("ratio: %s", raw)
	}
	if text, err := os.ReadFile(copies); err != nil || !strings.Contains(string(text), "func (in *Widget) DeepCopy() *Widget") {
		t.Errorf("deep copies: %v\n%s", err, text)
	}
}
