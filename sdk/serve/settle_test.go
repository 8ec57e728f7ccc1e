package serve

import "testing"

func TestTrimsOnceAfterWork(t *testing.T) {
	i := idle{last: 10 << 20, given: 10 << 20}
	for n, step := range []struct {
		allocated uint64 // MiB in the interval
		trim      bool
	}{
		{0, false},  // nothing was done since the start
		{50, false}, // work
		{0, true},   // it is over
		{0, false},  // given back already
		{3, false},  // a little work
		{0, false},  // too little to be worth it
		{20, false},
		{20, false}, // work goes on
		{0, true},
	} {
		if got := i.trim(i.last + step.allocated<<20); got != step.trim {
			t.Errorf("interval %d: %v, want %v", n, got, step.trim)
		}
	}
}
