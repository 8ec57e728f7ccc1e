package scaffold_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

const repository = "../../../.."

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		name, _ := filepath.Rel(dir, file)
		out[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// That what is written builds and passes its tests is in test/tutorials.
func TestEveryKindIsWholeAndTheAuthors(t *testing.T) {
	for _, kind := range scaffold.KindNames() {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			o := scaffold.Options{Name: "backup-policy", Kind: kind, Group: "acme.example.com", Module: "github.com/acme/policy", SDK: repository}
			if err := scaffold.Write(dir, o); err != nil {
				t.Fatal(err)
			}
			files := read(t, dir)
			for name, text := range files {
				for _, left := range []string{"gizmo", "Gizmo", "example.dev", "internal/scaffold", "%%"} {
					if name != "go.sum" && strings.Contains(name+"\n"+text, left) {
						t.Errorf("%s still has %q", name, left)
					}
				}
			}
			for _, want := range []string{"main.go", "plugin.go", "plugin.yaml", "plugin_test.go", "Makefile", "README.md", ".gitignore", "go.mod", "go.sum", "ci.sh", ".github/workflows/ci.yaml"} {
				if files[want] == "" {
					t.Errorf("there is no %s", want)
				}
			}
			m, err := manifest.Parse([]byte(files["plugin.yaml"]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Name != "backup-policy" {
				t.Errorf("the manifest is of %q", m.Name)
			}
			if !strings.Contains(files["go.mod"], "module github.com/acme/policy\n") {
				t.Errorf("go.mod: %s", files["go.mod"])
			}
			if st, err := os.Stat(filepath.Join(dir, "ci.sh")); err != nil || st.Mode()&0o100 == 0 {
				t.Errorf("ci.sh can't be run: %v, %v", st, err)
			}
			if err := scaffold.Write(dir, o); err == nil {
				t.Error("a project was written over another")
			}
		})
	}
}

func TestNamesOfTheType(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := scaffold.Write(dir, scaffold.Options{Name: "backup-policy", Kind: "resource", SDKVersion: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	files := read(t, dir)
	for name, want := range map[string]string{
		"crds/example.dev_backuppolicies.yaml": "name: backuppolicies.example.dev",
		"api/v1/types.go":                      "type BackupPolicySpec struct",
		"plugin.yaml":                          "types: [backuppolicies.example.dev]",
		"hooks.go":                             `v1 "example.dev/backup-policy/api/v1"`,
		"go.mod":                               "require github.com/pintle-dev/pintle v1.2.3",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, files[name])
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		o          scaffold.Options
	}{
		{"a name that is none", "name \"Widget\"", scaffold.Options{Name: "Widget", Kind: "resource", SDKVersion: "v1.0.0"}},
		{"a digit first", "a letter first", scaffold.Options{Name: "3d", Kind: "resource", SDKVersion: "v1.0.0"}},
		{"a kind that is none", "kind \"foo\": there are", scaffold.Options{Name: "a", Kind: "foo", SDKVersion: "v1.0.0"}},
		{"a group that is none", "group \"dev\"", scaffold.Options{Name: "a", Kind: "kms", Group: "dev", SDKVersion: "v1.0.0"}},
		{"no SDK", "neither a directory nor a version", scaffold.Options{Name: "a", Kind: "kms"}},
		{"an SDK that is none", "checkout", scaffold.Options{Name: "a", Kind: "kms", SDK: "."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			err := scaffold.Write(dir, tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was written")
			}
		})
	}
}

func TestKindsHaveDescriptions(t *testing.T) {
	names := scaffold.KindNames()
	entries, err := os.ReadDir("projects")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "common" && !slices.Contains(names, e.Name()) {
			t.Errorf("projects/%s is not offered", e.Name())
		}
	}
}
