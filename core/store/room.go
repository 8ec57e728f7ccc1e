package store

import (
	"fmt"
	"sync/atomic"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// room watches the free space of the disk. Log and state preallocate and map files, which
// a full disk would turn into crashes: so writes end before it is full, changes and
// creations first, deletions later, and what is already agreed on last.
type room struct {
	dir  string
	min  uint64
	free atomic.Uint64
}

// The parts of the reserve that deletions and the state machine may use.
const (
	deletionShare = 2
	applyShare    = 4
)

func newRoom(dir string, reserve uint64) (*room, error) {
	r := &room{dir: dir, min: reserve}
	return r, r.refresh()
}

// refresh looks again.
func (r *room) refresh() error {
	free, err := engine.FreeBytes(r.dir)
	if err != nil {
		return err
	}
	r.free.Store(free)
	return nil
}

// check refuses a write when there is too little room for it.
func (r *room) check(deletion bool) error {
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
