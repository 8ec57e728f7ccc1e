package fsm_test

import (
	"go/ast"
	"go/types"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/pintle-dev/pintle/core/store/internal/"

// forbidden are imports through which servers could come to differ.
var forbidden = []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "runtime", "maps", "sync", "context"}

// TestNothingVaries looks in the state machine, and in what it decides with, for what
// could make two servers apply the same entry differently.
func TestNothingVaries(t *testing.T) {
	found := violations(t, module+"fsm", module+"command", module+"value")
	for _, v := range found {
		t.Error(v)
	}
}

// TestTheGuardSees makes sure that the test above can fail.
func TestTheGuardSees(t *testing.T) {
	found := strings.Join(violations(t, "./testdata/varying"), "\n")
	for _, want := range []string{`imports "time"`, `imports "math/rand/v2"`, "ranges over a map", "starts a goroutine", "selects"} {
		if !strings.Contains(found, want) {
			t.Errorf("the guard overlooks code that %s; it found:\n%s", want, found)
		}
	}
}

func violations(t *testing.T, patterns ...string) (out []string) {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{Mode: packages.LoadSyntax}, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		for _, err := range p.Errors {
			t.Fatal(err)
		}
		if len(p.Syntax) == 0 {
			t.Fatalf("no source of %s", p.PkgPath)
		}
		report := func(n ast.Node, what string) {
			out = append(out, p.Fset.Position(n.Pos()).String()+": "+what)
		}
		for _, f := range p.Syntax {
			for _, i := range f.Imports {
				for _, name := range forbidden {
					if i.Path.Value == `"`+name+`"` {
						report(i, "imports "+i.Path.Value)
					}
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					report(n, "starts a goroutine")
				case *ast.SelectStmt:
					report(n, "selects")
				case *ast.RangeStmt:
					if _, ok := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map); ok {
						report(n, "ranges over a map")
					}
				}
				return true
			})
		}
	}
	return out
}
