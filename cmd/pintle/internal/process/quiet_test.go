package process

import "testing"

func TestQuiet(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name   string
		before uint64
		now    usage
		calm   bool
		gain   bool
	}{
		{"busy", 0, usage{allocated: 100 * mib, live: 40 * mib, held: 90 * mib}, false, false},
		{"done with much", 100 * mib, usage{allocated: 101 * mib, live: 40 * mib, held: 90 * mib}, true, true},
		{"nothing to gain", 100 * mib, usage{allocated: 101 * mib, live: 40 * mib, held: 50 * mib}, true, false},
		{"little to gain for a large heap", 100 * mib, usage{allocated: 101 * mib, live: 400 * mib, held: 450 * mib}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := quiet{last: usage{allocated: tc.before}}
			if calm, gain := q.look(tc.now); calm != tc.calm || gain != tc.gain {
				t.Errorf("calm %v, gain %v, want %v, %v", calm, gain, tc.calm, tc.gain)
			}
		})
	}
}

func TestReadUsage(t *testing.T) {
	garbage := make([]byte, 32<<20)
	u := readUsage()
	if u.allocated < uint64(len(garbage)) || u.held < uint64(len(garbage)) {
		t.Errorf("with 32 MiB on the heap: %+v", u)
	}
}
