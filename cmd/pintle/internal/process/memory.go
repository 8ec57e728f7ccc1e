package process

import (
	"os"
	"runtime/debug"
)

// BoundMemory makes the garbage collector keep the heap close to what lives: a server's
// heap is mostly objects that stay, of which the default would keep as much garbage again.
// percent is GOGC, limit a soft limit in bytes from which it works harder. What the
// environment says wins.
func BoundMemory(percent int, limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}
