package serve

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// settled is how long after its start a process has done what it does only once.
	settled = 3 * time.Second
	// idleInterval is how often a plugin looks whether work is over.
	idleInterval = 30 * time.Second
	// idleBytes allocated in an interval are what a plugin with nothing to do needs: it
	// answers the host's health checks, and its watches get bookmarks.
	idleBytes = 1 << 20
	// workBytes allocated since memory was last given back are work, after which there is
	// some to give back again.
	workBytes = 4 << 20
	// unmapInterval is how often a plugin looks whether much is mapped for nothing: health
	// checks are rarer.
	unmapInterval = 2 * time.Second
	// unmapBytes allocated in such an interval are what a health check needs, and a few calls.
	unmapBytes = 128 << 10
	// worthUnmapping is how much of its files an idle process may have mapped.
	worthUnmapping = 4 << 20
)

// TrimAfterStart gives back, once the process has settled, the memory that only its start
// needed: free heap, and the pages of the executable that were mapped to initialise
// packages. The kernel could take the latter at any time; as it does not count them as
// free, processes of large programs would seem to need far more than they do. What is
// used again is mapped again from the page cache.
func TrimAfterStart() {
	time.AfterFunc(settled, GiveBack)
}

// GiveBack gives the memory back now that TrimAfterStart gives back later.
func GiveBack() {
	debug.FreeOSMemory()
	// Nothing depends on it, and there is nobody to tell.
	_ = dropExecutablePages()
}

// Unmap gives back the pages of the executable of a process that is idle, where it has mapped
// more than a little. What an idle process does from time to time needs few of them, but a
// kernel maps much around each that is used: 64 KiB, and from Linux 6.18 all of a large folio,
// of which a file's cache consists that was written or read in large pieces.
//
// It takes a fraction of a millisecond, and so does what is used next to be mapped again.
func Unmap() {
	if n, err := mappedOfFiles(); err == nil && n >= worthUnmapping {
		_ = dropExecutablePages() // as in GiveBack
	}
}

// trimWhenIdle gives memory back after the start, and each time when the work that needed it is
// over. It does not return.
func trimWhenIdle() {
	time.Sleep(settled)
	GiveBack()
	i := idle{last: allocated(), given: allocated()}
	look, last := time.Tick(idleInterval), allocated()
	for range time.Tick(unmapInterval) {
		now := allocated()
		select {
		case <-look:
			if i.trim(now) {
				GiveBack()
			}
		default:
			if now-last < unmapBytes {
				Unmap()
			}
		}
		last = now
	}
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// idle tells when a plugin has nothing to do after work, by the bytes that it had allocated an
// interval before, and when memory was given back.
type idle struct{ last, given uint64 }

// trim looks an interval after the last time.
func (i *idle) trim(now uint64) bool {
	calm := now-i.last < idleBytes
	i.last = now
	if !calm || now-i.given < workBytes {
		return false
	}
	i.given = now
	return true
}
