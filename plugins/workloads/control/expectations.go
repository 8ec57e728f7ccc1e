package control

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// expectationsLast is how long creations and deletions that were asked for are waited
// for. An event that is lost must not block a controller for ever.
const expectationsLast = 5 * time.Minute

// Expectations remember what a controller has asked for and its cache does not show yet,
// so that it doesn't ask twice. Safe for concurrent use.
type Expectations struct {
	now func() time.Time
	mu  sync.Mutex
	m   map[string]*expected
}

type expected struct {
	creations int
	deletions map[types.UID]bool
	since     time.Time
}

// NewExpectations returns no expectations. now is the clock, time.Now if nil.
func NewExpectations(now func() time.Time) *Expectations {
	if now == nil {
		now = time.Now
	}
	return &Expectations{now: now, m: map[string]*expected{}}
}

// Satisfied reports whether the cache shows all that was asked for (or it is too long
// ago), so that the owner may be reconciled.
func (e *Expectations) Satisfied(owner string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.m[owner]
	return x == nil || (x.creations <= 0 && len(x.deletions) == 0) || e.now().Sub(x.since) > expectationsLast
}

// Expect announces creations and deletions about to be asked for.
func (e *Expectations) Expect(owner string, creations int, deletions ...types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := &expected{creations: creations, deletions: make(map[types.UID]bool, len(deletions)), since: e.now()}
	for _, uid := range deletions {
		x.deletions[uid] = true
	}
	e.m[owner] = x
}

// Created takes off n creations: seen, or failed.
func (e *Expectations) Created(owner string, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.m[owner]; x != nil {
		x.creations -= n
	}
}

// Deleted takes off a deletion: seen, or failed.
func (e *Expectations) Deleted(owner string, uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.m[owner]; x != nil {
		delete(x.deletions, uid)
	}
}

// Forget drops what is expected for an owner that is gone.
func (e *Expectations) Forget(owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.m, owner)
}
