package process

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestLimitLeavesRoomForGarbage(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct{ configured, live, want int64 }{
		{128 * mib, 0, 128 * mib},
		{128 * mib, 60 * mib, 128 * mib},
		{128 * mib, 89 * mib, 128 * mib},
		{128 * mib, 100 * mib, 144 * mib},
		{128 * mib, 400 * mib, 528 * mib},
	} {
		if got := limitFor(tc.configured, tc.live); got != tc.want {
			t.Errorf("limit %d MiB with %d MiB alive: %d MiB, want %d", tc.configured/mib, tc.live/mib, got/mib, tc.want/mib)
		}
	}
}

func TestBoundMemoryGivesWay(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	const limit = 24 << 20
	BoundMemory(50, limit)
	alive := make([]byte, 64<<20)
	deadline := time.Now().Add(10 * time.Second)
	for debug.SetMemoryLimit(-1) < int64(len(alive)) {
		if time.Now().After(deadline) {
			t.Fatalf("the limit is still %d MiB with 64 MiB alive", debug.SetMemoryLimit(-1)>>20)
		}
		runtime.GC()
		runtime.Gosched()
	}
	runtime.KeepAlive(alive)
}
