package process

import (
	"runtime/metrics"
	"time"

	"github.com/pintle-dev/pintle/sdk/serve"
)

const (
	// started is when a process has done what it does only when it starts.
	started = 3 * time.Second
	// quietInterval is how often TrimWhenQuiet looks.
	quietInterval = 15 * time.Second
	// quietBytes allocated in an interval are what a process with little to do needs.
	quietBytes = 8 << 20
	// worthTrimming is what a garbage collection must give back at least.
	worthTrimming = 16 << 20
)

// TrimWhenQuiet gives memory back, as TrimAfterStart does, when the work that needed it is over. The garbage
// collector keeps as much as it was last allowed to use, since it can't know that nothing
// more comes, and collects a quiet heap every two minutes at the latest without giving
// that back. The pages of the program that were mapped for what is done now and then are given
// back in every quiet interval.
func TrimWhenQuiet() {
	go func() {
		time.Sleep(started)
		q := quiet{last: readUsage()}
		for range time.Tick(quietInterval) {
			switch calm, gain := q.look(readUsage()); {
			case gain:
				giveBack()
			case calm:
				serve.Unmap()
			}
		}
	}()
}

// usage is what the heap has and had, in bytes.
type usage struct {
	// allocated in all, live after the last garbage collection, held from the system.
	allocated, live, held uint64
}

func readUsage() usage {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return usage{
		allocated: s[0].Value.Uint64(), live: s[1].Value.Uint64(),
		held: s[2].Value.Uint64() + s[3].Value.Uint64() + s[4].Value.Uint64(),
	}
}

// quiet tells when there has been nothing to do for a while.
type quiet struct{ last usage }

// look looks at the usage an interval after the last time: whether there was little to do in it,
// and whether giving back what it left behind is worth a garbage collection.
func (q *quiet) look(u usage) (calm, gain bool) {
	calm = u.allocated-q.last.allocated < quietBytes
	q.last = u
	return calm, calm && u.held > u.live+max(worthTrimming, u.live/4)
}
