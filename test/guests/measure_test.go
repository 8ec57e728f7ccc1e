package guests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// Windows in which others' requests are timed. Quiet ones and such with a hostile guest take
// turns, so that what the machine does beside it, and how it changes, is in both; what is
// compared are all samples of the one kind with all of the other.
const (
	quietWindow   = 600 * time.Millisecond
	hostileWindow = 1200 * time.Millisecond
	// rounds are made at least, and more, whose samples are added, where the figures are not
	// within bounds after them: noise gets less with each, and an effect stays.
	rounds, maxRounds = 2, 6
	// bound of the figure with a guest, as a multiple of that without.
	bound = 2
	// noiseFloor: a figure below it is none of the guest's doing. It is some syncs of a file
	// that meet, and two quiet windows in a row differ by more than bound there: the table
	// says from what to what the quiet ones went.
	noiseFloor = 10 * time.Millisecond
	// busyFloor is that of a machine on which other packages are tested at the same time.
	busyFloor = 250 * time.Millisecond
)

// samples are how long requests took.
type samples []time.Duration

func (s samples) p99() time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)*99/100]
}

// felt is what others felt of one guest.
type felt struct {
	mode           string
	quiet, hostile samples
	quietWindows   []time.Duration // their p99s
	rounds         int
	words          string
}

func (f *felt) ratio() float64 { return float64(f.hostile.p99()) / float64(max(f.quiet.p99(), 1)) }

// within reports whether others felt no more than they may.
func (f *felt) within() bool {
	floor := noiseFloor
	if !*all {
		floor = busyFloor
	}
	return f.hostile.p99() <= max(bound*f.quiet.p99(), floor)
}

// compare makes rounds of a quiet window and one in which the guest is hostile. first is called
// in the first of the latter's, after it was measured.
func (c *cluster) compare(t *testing.T, m *misdeed, first func()) *felt {
	f := &felt{mode: m.mode}
	for f.rounds < maxRounds && (f.rounds < rounds || !f.within()) {
		f.rounds++
		c.measure(t, quietWindow, &f.quiet, &f.quietWindows)
		c.become(t, m, true)
		stop := c.callAll(m)
		c.measure(t, hostileWindow, &f.hostile, nil)
		if f.rounds == 1 {
			first()
		}
		stop()
		c.become(t, m, false)
		if !*all {
			break
		}
	}
	t.Logf("p99 of others %s without it, %s with it (%.1f), of %d and %d requests", f.quiet.p99(), f.hostile.p99(), f.ratio(), len(f.quiet), len(f.hostile))
	return f
}

// measure adds the samples of one window.
func (c *cluster) measure(t *testing.T, d time.Duration, to *samples, windows *[]time.Duration) {
	t.Helper()
	got := c.load.run(t.Context(), d)
	for _, err := range got.errors {
		t.Errorf("others felt: %v", err)
	}
	*to = append(*to, got.took...)
	if windows != nil {
		*windows = append(*windows, got.took.p99())
	}
}

// table is what is read of all guests.
func table(all []*felt) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "GUEST\tP99 QUIET\tP99 WITH IT\tRATIO\tREQUESTS\tWHAT AN OPERATOR READS")
	var windows []time.Duration
	for _, f := range all {
		words := f.words
		if words == "" {
			words = "nothing: it does no harm"
		}
		if len(words) > 130 {
			words = words[:130] + "…"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%d + %d\t%s\n", f.mode, ms(f.quiet.p99()), ms(f.hostile.p99()), f.ratio(), len(f.quiet), len(f.hostile), words)
		windows = append(windows, f.quietWindows...)
	}
	_ = w.Flush()
	if len(windows) > 0 {
		slices.Sort(windows)
		fmt.Fprintf(&b, "Of %d quiet windows of %s the p99 was from %s to %s, at the median %s. A figure with a guest may be twice the quiet one, or %s.\n",
			len(windows), quietWindow, ms(windows[0]), ms(windows[len(windows)-1]), ms(windows[len(windows)/2]), noiseFloor)
	}
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// callAll uses the guest's type until stop is called.
func (c *cluster) callAll(m *misdeed) (stop func()) {
	if !m.calls {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = c.try(ctx, m.mode) // what becomes of it is the guest's business
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}
