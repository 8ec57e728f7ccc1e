package confine_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/host/confine"
)

func TestUsersAreStableAndTheirOwn(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{First: 1_960_000_000, Count: 3})
	ids := map[string]uint32{}
	seen := map[uint32]bool{}
	for _, name := range []string{"a", "b", "c"} {
		g := m.guest()
		g.Name = name
		cell, err := m.keeper.Open(g)
		must(t, err)
		cell.Close()
		ids[name] = cell.Report().UserID
		seen[ids[name]] = true
	}
	if len(seen) != 3 {
		t.Errorf("users are shared: %v", ids)
	}
	again, err := confine.New(confine.Config{Dir: m.dir, Users: confine.Range{First: 1_960_000_000, Count: 3}})
	must(t, err)
	g := m.guest()
	g.Name = "b"
	cell, err := again.Open(g)
	must(t, err)
	cell.Close()
	if got := cell.Report().UserID; got != ids["b"] {
		t.Errorf("user %d, before %d", got, ids["b"])
	}
	g.Name = "d"
	cell, err = again.Open(g)
	must(t, err)
	cell.Close()
	if s := strings.Join(cell.Report().Skipped, "\n"); !strings.Contains(s, "all 3 ids") {
		t.Errorf("a fourth user of three: %+v", cell.Report())
	}
}
