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
	second, half, third := time.Second, time.Second/2, time.Second/3
	for name, c := range map[string]struct {
		looks []busy // cell, CPU time and waiting time at each, a second after the one before
		want  bool
	}{
		"idle":                {[]busy{{cell: one}, {cell: one}, {cell: one}}, false},
		"once":                {[]busy{{cell: one}, {cell: one, cpu: second}, {cell: one, cpu: second}}, false},
		"all of it":           {[]busy{{cell: one}, {cell: one, cpu: half}, {cell: one, cpu: second}}, true},
		"another's":           {[]busy{{cell: one}, {cell: one, cpu: second}, {cell: other, cpu: 2 * second}}, false},
		"all, then nothing":   {[]busy{{cell: one}, {cell: one, cpu: second}, {cell: one, cpu: 2 * second}, {cell: one, cpu: 2 * second}}, false},
		"some, and no more":   {[]busy{{cell: one}, {cell: one, cpu: third / 2}, {cell: one, cpu: third, waited: 1}, {cell: one, cpu: third * 3 / 2, waited: 1}}, false},
		"what others leave":   {[]busy{{cell: one}, {cell: one, cpu: third / 2, waited: second}, {cell: one, cpu: third, waited: 2 * second}, {cell: one, cpu: third * 3 / 2, waited: 3 * second}}, true},
		"waiting, and no CPU": {[]busy{{cell: one}, {cell: one, waited: second}, {cell: one, waited: 2 * second}, {cell: one, waited: 3 * second}}, false},
	} {
		var b busy
		got := false
		for _, l := range c.looks {
			if b.cell != nil {
				b.at = now().Add(-time.Second)
			}
			got = b.look(l.cell, demand{l.cpu, func() time.Duration { return l.waited }}, 500)
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
