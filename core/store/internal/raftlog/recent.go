package raftlog

import (
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// entryOverhead is what an entry costs in memory besides its bytes.
const entryOverhead = 128

// recent keeps the newest entries in memory: followers are sent them, and apply them, soon
// after they were written. It is off until there is somebody to send to.
type recent struct {
	mu     sync.RWMutex
	budget int
	bytes  int
	// first is the index of entries[0]; the entries follow one another.
	first   uint64
	entries []*raft.Log
	// head is how many of the slice have been dropped.
	head int
}

func (r *recent) setBudget(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = bytes
	r.shrinkLocked()
}

func (r *recent) get(index uint64, l *raft.Log) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n := uint64(len(r.entries) - r.head); n == 0 || index < r.first || index >= r.first+n {
		return false
	}
	*l = *r.entries[r.head+int(index-r.first)]
	return true
}

// add keeps copies of entries, whose bytes their owner will use again.
func (r *recent) add(entries []*raft.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.budget == 0 {
		return
	}
	for _, e := range entries {
		if n := uint64(len(r.entries) - r.head); n == 0 || e.Index != r.first+n {
			r.clearLocked()
			r.first = e.Index
		}
		kept := *e
		kept.Data = slices.Clone(e.Data)
		r.entries = append(r.entries, &kept)
		r.bytes += len(e.Data) + entryOverhead
	}
	r.shrinkLocked()
}

// remove forgets the entries min to max, which are at an end of the log.
func (r *recent) remove(minIndex, maxIndex uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.entries) > r.head && r.first <= maxIndex && r.first >= minIndex {
		r.dropFirstLocked()
	}
	for len(r.entries) > r.head && r.first+uint64(len(r.entries)-r.head)-1 >= minIndex {
		last := len(r.entries) - 1
		if r.entries[last].Index > maxIndex {
			return
		}
		r.bytes -= len(r.entries[last].Data) + entryOverhead
		r.entries[last] = nil
		r.entries = r.entries[:last]
	}
}

func (r *recent) shrinkLocked() {
	for r.bytes > r.budget && len(r.entries) > r.head {
		r.dropFirstLocked()
	}
	if r.head > 256 && r.head > len(r.entries)/2 {
		r.entries = slices.Clone(r.entries[r.head:])
		r.head = 0
	}
}

func (r *recent) dropFirstLocked() {
	r.bytes -= len(r.entries[r.head].Data) + entryOverhead
	r.entries[r.head] = nil
	r.head++
	r.first++
}

func (r *recent) clearLocked() { r.entries, r.head, r.bytes = nil, 0, 0 }
