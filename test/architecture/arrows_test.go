// Package architecture holds the import arrows between the floors of the house, and what
// the SDK may drag into a plugin author's build.
package architecture

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pintle-dev/pintle/"

// allowed says which floors a floor's code may import, beside itself.
var allowed = map[string][]string{
	"cmd":     {"core", "runtime", "plugins", "sdk", "crd", "configs"},
	"core":    {"crd", "sdk"},
	"runtime": {"crd", "sdk"},
	"plugins": {"sdk", "crd"},
	"sdk":     {"crd"},
	"crd":     {},
	"configs": {},
}

// forbidden modules bring the costs that this project exists to avoid.
var forbidden = []string{"k8s.io/kubernetes/", "k8s.io/apiserver/pkg/server", "k8s.io/apiserver/pkg/registry", "go.etcd.io/etcd/"}

// maxSDKPackages of ours may come into an author's build.
const maxSDKPackages = 10

// adapter is a module of its own, which brings its users more than it is itself.
const adapter = module + "sdk/controllerruntime"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// forTests is the one package of the SDK that has the core in it, by testCore: docs/adr/0007.
const (
	forTests = module + "sdk/plugintest/cluster"
	testCore = module + "test/inprocess"
)

// shared is the room of what several plugins need; it may import no plugin itself.
const shared = "plugins/internal"

// floor of a package of ours, and the room in it ("plugins/network").
func floor(path string) (floor, room string, ours bool) {
	rest, ok := strings.CutPrefix(path, module)
	if !ok {
		return "", "", false
	}
	parts := strings.SplitN(rest, "/", 3)
	room = parts[0]
	if len(parts) > 1 {
		room += "/" + parts[1]
	}
	return parts[0], room, true
}

func TestImportArrowsPointDown(t *testing.T) {
	for _, p := range list(t, "./cmd/...", "./core/...", "./crd/...", "./sdk/...", "./plugins/...", "./runtime/...", "./configs/...") {
		from, fromRoom, ours := floor(p.ImportPath)
		if !ours {
			continue
		}
		for _, imp := range p.Imports {
			to, toRoom, ours := floor(imp)
			switch {
			case !ours:
			case from == "plugins" && to == "plugins" && fromRoom != toRoom && toRoom != shared:
				t.Errorf("%s imports %s: a plugin must not import another", p.ImportPath, imp)
			case from == to:
			case p.ImportPath == forTests && (imp == testCore || imp == module+"core/host"):
			case !slices.Contains(allowed[from], to):
				t.Errorf("%s imports %s: %s may import only %v", p.ImportPath, imp, from, allowed[from])
			}
		}
	}
}

// What plugins link has no core in it: only tests import what starts one.
func TestOnlyTestsHaveTheCore(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, imp := range p.Imports {
			if imp == forTests || imp == testCore && p.ImportPath != forTests {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imp)
			}
		}
	}
}

func TestHeavyModulesStayOut(t *testing.T) {
	for _, p := range list(t, "./cmd/pintle") {
		for _, dep := range p.Deps {
			for _, f := range forbidden {
				if strings.HasPrefix(dep+"/", f) {
					t.Errorf("%s comes into the binary", dep)
				}
			}
		}
	}
}

// examples are modules of their own, as authors write them.
func examples(t *testing.T) []string {
	t.Helper()
	mods, err := filepath.Glob("../../sdk/examples/*/go.mod")
	if err != nil || len(mods) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	dirs := make([]string, len(mods))
	for i, m := range mods {
		dirs[i] = filepath.Dir(m)
	}
	return dirs
}

func goList(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	return strings.Fields(string(out))
}

func TestSDKDragsLittleIntoAnAuthorsBuild(t *testing.T) {
	heavy := []string{"github.com/dgraph-io/", "github.com/hashicorp/raft", "github.com/containerd/containerd"}
	for _, dir := range examples(t) {
		var ours []string
		for _, dep := range goList(t, dir, "-deps", ".") {
			if f, _, ok := floor(dep); ok {
				if dep != adapter {
					ours = append(ours, dep)
				}
				if f != "sdk" && f != "crd" {
					t.Errorf("%s: the build has %s", dir, dep)
				}
			}
			if slices.ContainsFunc(heavy, func(h string) bool { return strings.HasPrefix(dep, h) }) {
				t.Errorf("%s: the build has %s", dir, dep)
			}
		}
		if len(ours) > maxSDKPackages {
			t.Errorf("%s: the build has %d packages of this repository, at most %d may come: %v", dir, len(ours), maxSDKPackages, ours)
		}
	}
}

// An author's code needs only the SDK of this repository.
func TestExamplesImportOnlyTheSDK(t *testing.T) {
	for _, dir := range examples(t) {
		seen := false
		for _, imp := range goList(t, dir, "-f", `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}`, "./...") {
			f, _, ours := floor(imp)
			seen = seen || f == "sdk"
			if ours && f != "sdk" {
				t.Errorf("%s imports %s", dir, imp)
			}
		}
		if !seen {
			t.Errorf("%s does not import the SDK at all", dir)
		}
	}
}
