package serve

import (
	"runtime/debug"
	"time"
)

// settled is how long after its start a process has done what it does only once.
const settled = 3 * time.Second

// TrimAfterStart gives back, once the process has settled, the memory that only its start
// needed: free heap, and the pages of the executable that were mapped to initialise
// packages. The kernel could take the latter at any time; as it does not count them as
// free, processes of large programs would seem to need far more than they do. What is
// used again is mapped again from the page cache.
//
// Serve does so for every plugin.
func TrimAfterStart() {
	time.AfterFunc(settled, GiveBack)
}

// GiveBack gives the memory back now that TrimAfterStart gives back later.
func GiveBack() {
	debug.FreeOSMemory()
	// Nothing depends on it, and there is nobody to tell.
	_ = dropExecutablePages()
}
