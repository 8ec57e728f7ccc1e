package host

import (
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host/confine"
)

func TestTallies(t *testing.T) {
	var ts tallies
	if out := ts.troubles(); len(out) != 0 {
		t.Errorf("troubles of who has done nothing: %+v", out)
	}
	ts.garbage.note("first")
	ts.garbage.note(strings.Repeat("x", 10_000))
	ts.refused.note("get secrets")
	out := ts.troubles()
	if len(out) != 2 || !strings.HasPrefix(out[0].text, "2 of its answers could not be used, the last for: xxx") || len(out[0].text) > 300 ||
		!strings.HasSuffix(out[1].text, "1 times, the last: get secrets") {
		t.Errorf("troubles: %+v", out)
	}
	ts.garbage.at = now().Add(-2 * tallied)
	if out := ts.troubles(); len(out) != 1 {
		t.Errorf("what is long ago is a trouble still: %+v", out)
	}
	ts.garbage.note("again")
	if n, _ := ts.garbage.recent(); n != 1 {
		t.Errorf("%d with what is long ago", n)
	}
}

func TestBusy(t *testing.T) {
	one, other := &confine.Cell{}, &confine.Cell{}
	for name, c := range map[string]struct {
		looks []busy // cell and CPU time at each, a second after the one before
		want  bool
	}{
		"idle":              {[]busy{{cell: one}, {cell: one}, {cell: one}}, false},
		"once":              {[]busy{{cell: one}, {cell: one, cpu: time.Second}, {cell: one, cpu: time.Second}}, false},
		"all of it":         {[]busy{{cell: one}, {cell: one, cpu: 500 * time.Millisecond}, {cell: one, cpu: time.Second}}, true},
		"another's":         {[]busy{{cell: one}, {cell: one, cpu: time.Second}, {cell: other, cpu: 2 * time.Second}}, false},
		"all, then nothing": {[]busy{{cell: one}, {cell: one, cpu: time.Second}, {cell: one, cpu: 2 * time.Second}, {cell: one, cpu: 2 * time.Second}}, false},
	} {
		var b busy
		got := false
		for _, l := range c.looks {
			b.at = b.at.Add(-time.Second)
			if b.cell != nil {
				b.at = now().Add(-time.Second)
			}
			got = b.look(l.cell, l.cpu, 500)
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
