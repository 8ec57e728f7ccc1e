package process

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// BoundMemory makes the garbage collector keep the heap close to what lives: a server's
// heap is mostly objects that stay, of which the default would keep as much garbage again.
// percent is GOGC, limit the size in bytes from which it works harder. What the environment
// says wins.
//
// A limit that is near to what lives, or below, would make it collect without end. So the
// limit gives way: a quarter of what lives, and some more, is always left for garbage.
func BoundMemory(percent int, limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
		b := &bound{configured: limit, set: limit, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		b.afterCycle()
	}
}

// bound is the soft limit, looked at after every cycle of the garbage collector.
type bound struct {
	configured, set int64
	live            []metrics.Sample
}

// cycle is garbage at once, so that its cleanup tells of the end of a cycle. It has a
// pointer, for values without may share their memory with others and live on.
type cycle struct{ _ *bound }

func (b *bound) afterCycle() {
	runtime.AddCleanup(&cycle{}, func(b *bound) {
		metrics.Read(b.live)
		// Setting it stops the world for a moment.
		if want := limitFor(b.configured, int64(b.live[0].Value.Uint64())); want != b.set {
			b.set = want
			debug.SetMemoryLimit(want)
		}
		b.afterCycle()
	}, b)
}

const (
	// limitStep keeps the limit from following every object.
	limitStep = 16 << 20
	// besideHeap is what the limit also counts: stacks, the collector's own tables, and
	// heap that waits to be given back.
	besideHeap = 16 << 20
)

// limitFor is the soft limit where so many bytes live.
func limitFor(configured, live int64) int64 {
	need := live + live/4 + besideHeap
	return max(configured, (need+limitStep-1)/limitStep*limitStep)
}
