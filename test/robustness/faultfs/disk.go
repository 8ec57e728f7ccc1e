package main

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// Faults of a disk.
type Faults struct {
	// Fsync takes up to this long, and so does one write in sixteen.
	Fsync time.Duration `json:"fsync,omitempty"`
	// Free is the room that the disk says it has; 0 fails writes. Negative: as it is.
	Free int64 `json:"free"`
	// FailFsync fails every fsync with EIO, and what it was asked for is not durable.
	FailFsync bool `json:"failFsync,omitempty"`
}

// disk holds what all files of a mount share.
type disk struct {
	journal *journal

	mu      sync.Mutex
	faults  Faults
	stopped bool
}

func (d *disk) set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// stop ends all writing: from now on nothing changes but by the journal.
func (d *disk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

func (d *disk) get() (Faults, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return d.faults, syscall.EIO
	}
	return d.faults, 0
}

// mayWrite waits and fails as a write has to. The kernel's own writing of mapped pages has
// its room already.
func (d *disk) mayWrite(kernel bool) syscall.Errno {
	f, errno := d.get()
	if errno != 0 {
		return errno
	}
	if f.Free == 0 && !kernel {
		return syscall.ENOSPC
	}
	if f.Fsync > 0 && rand.IntN(16) == 0 {
		time.Sleep(rand.N(f.Fsync))
	}
	return 0
}

// maySync waits and fails as an fsync has to.
func (d *disk) maySync() syscall.Errno {
	f, errno := d.get()
	if errno != 0 {
		return errno
	}
	if f.Fsync > 0 {
		time.Sleep(rand.N(f.Fsync))
	}
	if f.FailFsync {
		return syscall.EIO
	}
	return 0
}
