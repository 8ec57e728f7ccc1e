package eventttl

import (
	"strconv"
	"time"
)

// mark is a revision that was the newest at a time.
type mark struct {
	at       time.Time
	revision uint64
}

// marks are in the order of time.
type marks []mark

// add remembers a revision. Marks that are not needed any more are dropped.
func (m marks) add(at time.Time, revision uint64, ttl time.Duration) marks {
	if n := len(m); n > 0 && revision < m[n-1].revision {
		m = nil // another store, or one that was restored: nothing is known of its times
	}
	m = append(m, mark{at, revision})
	for len(m) > 1 && at.Sub(m[1].at) >= ttl {
		m = m[1:]
	}
	return m
}

// expired is the revision up to which all that was written is older than ttl, 0 if that is not known.
func (m marks) expired(now time.Time, ttl time.Duration) uint64 {
	for i := len(m) - 1; i >= 0; i-- {
		if now.Sub(m[i].at) >= ttl {
			return m[i].revision
		}
	}
	return 0
}

// revisionOf reads a resourceVersion, 0 if it is none.
func revisionOf(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
