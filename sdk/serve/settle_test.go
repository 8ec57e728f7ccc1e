package serve

import "testing"

func TestTrimsOnceAfterWork(t *testing.T) {
	i := idle{last: 10 << 20, given: 10 << 20}
	for n, step := range []struct {
		allocated    uint64 // MiB in the interval
		calm, worked bool
	}{
		{0, true, false},   // nothing was done since the start
		{50, false, false}, // work
		{0, true, true},    // it is over
		{0, true, false},   // given back already
		{3, false, false},  // a little work
		{0, true, false},   // too little to be worth it
		{20, false, false},
		{20, false, false}, // work goes on
		{0, true, true},
	} {
		calm, worked := i.look(i.last + step.allocated<<20)
		if calm != step.calm || worked != step.worked {
			t.Errorf("interval %d: calm %v after work %v, want %v after %v", n, calm, worked, step.calm, step.worked)
		}
	}
}
