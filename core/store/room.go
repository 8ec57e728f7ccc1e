package store

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// room watches the free space of the disk. Log and state preallocate and map files, which
// a full disk would turn into crashes: so writes end before it is full, changes and
// creations first, deletions later, and what is already agreed on last.
type room struct {
	dir  string
	min  uint64
	free atomic.Uint64
	// begin is when this room was made, looked how long after that free was read.
	begin  time.Time
	looked atomic.Int64
}

// lookEvery is for how long what was seen is believed when a write is to be taken.
const lookEvery = 50 * time.Millisecond

// The parts of the reserve that deletions and the state machine may use.
const (
	deletionShare = 2
	applyShare    = 4
)

func newRoom(dir string, reserve uint64) (*room, error) {
	r := &room{dir: dir, min: reserve, begin: time.Now()}
	return r, r.refresh()
}

// refresh looks again.
func (r *room) refresh() error {
	free, err := engine.FreeBytes(r.dir)
	if err != nil {
		return err
	}
	r.free.Store(free)
	r.looked.Store(int64(time.Since(r.begin)))
	return nil
}

// check refuses a write when there is too little room for it.
func (r *room) check(deletion bool) error {
	if time.Since(r.begin)-time.Duration(r.looked.Load()) > lookEvery {
		_ = r.refresh() // What was seen last stands where nothing can be seen.
	}
	need := r.min
	if deletion {
		need /= deletionShare
	}
	if free := r.free.Load(); free < need {
		return fmt.Errorf("%w: %s has %d MiB free and %d MiB are kept in reserve; free some space there",
			ErrNoSpace, r.dir, free>>20, need>>20)
	}
	return nil
}

// canApply looks again and says whether the state machine may write. It is asked for
// every batch: many writes can come between two ticks of a clock.
func (r *room) canApply() bool {
	if err := r.refresh(); err != nil {
		return true // What can't be known stops nothing.
	}
	return r.free.Load() >= r.min/applyShare
}
