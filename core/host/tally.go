package host

import (
	"fmt"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// tallied is how long what was noted is a trouble.
const tallied = time.Minute

// maxTallied bounds the text of what was noted.
const maxTallied = 200

// tally counts what a plugin should not do, and keeps the last of it.
type tally struct {
	mu    sync.Mutex
	count int64
	last  string
	at    time.Time
}

// note counts one more. Anybody may call it.
func (t *tally) note(text string) {
	if len(text) > maxTallied {
		text = text[:maxTallied] + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now().Sub(t.at) > tallied {
		t.count = 0
	}
	t.count++
	t.last, t.at = text, now()
}

// recent is what was noted lately.
func (t *tally) recent() (count int64, last string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now().Sub(t.at) > tallied {
		return 0, ""
	}
	return t.count, t.last
}

// tallies are those of one plugin.
type tallies struct {
	// garbage are answers that can't be used, refused are reads by its calls of what it was not
	// granted.
	garbage, refused tally
}

func (t *tallies) troubles() (out []trouble) {
	if n, last := t.garbage.recent(); n > 0 {
		out = append(out, trouble{eventGarbage, fmt.Sprintf("%d of its answers could not be used, the last for: %s", n, last), false})
	}
	if n, last := t.refused.recent(); n > 0 {
		out = append(out, trouble{eventReads, fmt.Sprintf("its calls wanted to read what it was not granted, %d times, the last: %s", n, last), false})
	}
	return out
}

const (
	// fullShare of the CPU that it may have is all of it, for one who looks from outside, and
	// busyShare enough to look whether it would take more where others left it that.
	fullShare, busyShare = 0.8, 0.2
	// fullLooks in a row, and a plugin is at its limit: at its start it may well be for a while.
	fullLooks = 2
)

// demand is how much of the CPU a plugin has had, and has waited for, since its start.
type demand struct {
	cpu    time.Duration
	waited func() time.Duration
}

// busy is what was seen of a plugin's use of the CPU.
type busy struct {
	cell   *confine.Cell
	cpu    time.Duration
	waited time.Duration // 0 where that was not looked at
	at     time.Time
	full   int // looks in a row at which it had used all
}

// look reports whether all the CPU was wanted that could be had, in this look and those before.
func (b *busy) look(cell *confine.Cell, d demand, limit int64) bool {
	before, at := *b, now()
	*b = busy{cell: cell, cpu: d.cpu, at: at}
	may := float64(at.Sub(before.at)) * float64(limit) / 1000
	had := float64(d.cpu - before.cpu)
	if before.cell != cell || had < busyShare*may {
		return false
	}
	if had < fullShare*may {
		b.waited = d.waited()
		if before.waited == 0 || had+float64(b.waited-before.waited) < fullShare*may {
			return false
		}
	}
	b.full = before.full + 1
	return b.full >= fullLooks
}
