package architecture

import (
	"flag"
	"fmt"
	"go/types"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

var update = flag.Bool("update", false, "write the exported API of the SDK anew")

const (
	apiFile   = "../../sdk/api.txt"
	changelog = "../../sdk/CHANGELOG.md"
)

// TestTheSDKsAPIIsRecorded holds what sdk exports against sdk/api.txt. Authors that we never
// see build against it: what is taken away or changed has to be said.
func TestTheSDKsAPIIsRecorded(t *testing.T) {
	got := exportedAPI(t)
	if *update {
		if err := os.WriteFile(apiFile, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(apiFile)
	if err != nil {
		t.Fatalf("%v: make api writes it", err)
	}
	want := strings.Split(strings.TrimSpace(string(recorded)), "\n")
	said, err := os.ReadFile(changelog)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("gone or changed: %s", line)
			if name := symbol(line); !strings.Contains(string(said), name) {
				t.Errorf("sdk/CHANGELOG.md has no word of %s: say there what authors have to do, then make api", name)
			}
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("not recorded: %s: where it is new, make api; where it changes another line, see there", line)
		}
	}
}

// symbol is the name in a line of the record, such as "controller.Controller.Run".
func symbol(line string) string {
	name, _, _ := strings.Cut(line, " ")
	return strings.TrimPrefix(name, "sdk/")
}

// exportedAPI has a line for each exported name, field and method: PACKAGE.NAME KIND TYPE.
func exportedAPI(t *testing.T) []string {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedExportFile,
		Dir:  "../..",
	}, "./sdk/...")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatal(e)
		}
		room := strings.TrimPrefix(p.PkgPath, module)
		// What is generated from the protos has versions of its own.
		if strings.Contains(room, "/internal/") || strings.HasPrefix(room, "sdk/proto/") || strings.HasPrefix(room, "sdk/tools/") || p.Name == "main" {
			continue
		}
		qualifier := func(other *types.Package) string {
			if other == p.Types {
				return ""
			}
			return strings.TrimPrefix(other.Path(), module)
		}
		for _, name := range p.Types.Scope().Names() {
			if o := p.Types.Scope().Lookup(name); o.Exported() {
				lines = append(lines, describe(room, o, qualifier)...)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func describe(room string, o types.Object, q types.Qualifier) []string {
	name := room + "." + o.Name()
	switch o := o.(type) {
	case *types.Const:
		return []string{fmt.Sprintf("%s const %s = %s", name, types.TypeString(o.Type(), q), o.Val().ExactString())}
	case *types.Var:
		return []string{fmt.Sprintf("%s var %s", name, types.TypeString(o.Type(), q))}
	case *types.Func:
		return []string{fmt.Sprintf("%s %s", name, types.TypeString(o.Type(), q))}
	case *types.TypeName:
		return describeType(name, o, q)
	}
	return nil
}

func describeType(name string, o *types.TypeName, q types.Qualifier) []string {
	if o.IsAlias() {
		lines := []string{fmt.Sprintf("%s alias %s", name, types.TypeString(types.Unalias(o.Type()), q))}
		// What the SDK shows of the rest of the repository is the authors', too.
		if to, ok := types.Unalias(o.Type()).(*types.Named); ok && strings.HasPrefix(to.Obj().Pkg().Path(), module+"crd") {
			lines = append(lines, describeType(name, to.Obj(), q)...)
		}
		return lines
	}
	named, ok := o.Type().(*types.Named)
	if !ok {
		return nil
	}
	var lines []string
	switch u := named.Underlying().(type) {
	case *types.Struct:
		lines = append(lines, name+" struct")
		for f := range u.Fields() {
			if f.Exported() {
				lines = append(lines, fmt.Sprintf("%s.%s field %s", name, f.Name(), types.TypeString(f.Type(), q)))
			}
		}
	case *types.Interface:
		lines = append(lines, name+" interface")
		for m := range u.Methods() {
			if m.Exported() {
				lines = append(lines, fmt.Sprintf("%s.%s method %s", name, m.Name(), types.TypeString(m.Type(), q)))
			}
		}
		return lines
	default:
		lines = append(lines, fmt.Sprintf("%s type %s", name, types.TypeString(u, q)))
	}
	for m := range types.NewMethodSet(types.NewPointer(named)).Methods() {
		if f, ok := m.Obj().(*types.Func); ok && f.Exported() {
			lines = append(lines, fmt.Sprintf("%s.%s method %s", name, f.Name(), types.TypeString(f.Type(), q)))
		}
	}
	return lines
}
