package store

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A pipeline of Raft's holds up who sends while answers are not taken. Raft stops taking them
// when it learns from one that it no longer leads, and where a send is held up at that moment it
// never looks up again: neither it nor Raft's shutdown ends. A pipeline that is closed lets
// it go, and Raft goes on without one.

// heldUp is how long a send may wait. Answers have peerTimeout to come.
const heldUp = peerTimeout + 5*time.Second

// pipelines are those that are open.
type pipelines struct {
	mu     sync.Mutex
	open   map[*carefulPipeline]struct{}
	closed bool
}

// add takes a pipeline into care.
func (ps *pipelines) add(p raft.AppendPipeline, timeout time.Duration) (raft.AppendPipeline, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil, errors.Join(raft.ErrTransportShutdown, p.Close())
	}
	if ps.open == nil {
		ps.open = map[*carefulPipeline]struct{}{}
	}
	out := &carefulPipeline{AppendPipeline: p, all: ps, timeout: timeout}
	ps.open[out] = struct{}{}
	return out, nil
}

// close closes all, and those to come.
func (ps *pipelines) close() error {
	ps.mu.Lock()
	ps.closed = true
	open := ps.open
	ps.open = nil
	ps.mu.Unlock()
	var errs []error
	for p := range open {
		errs = append(errs, p.AppendPipeline.Close())
	}
	return errors.Join(errs...)
}

// carefulPipeline is one whose sends end.
type carefulPipeline struct {
	raft.AppendPipeline
	all     *pipelines
	timeout time.Duration
}

// AppendEntries implements raft.AppendPipeline.
func (p *carefulPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	timer := time.AfterFunc(p.timeout, func() { _ = p.AppendPipeline.Close() }) // The sender is told that it is closed.
	defer timer.Stop()
	return p.AppendPipeline.AppendEntries(args, resp) //nolint:wrapcheck // Raft's own, for Raft
}

// Close implements raft.AppendPipeline.
func (p *carefulPipeline) Close() error {
	p.all.mu.Lock()
	delete(p.all.open, p)
	p.all.mu.Unlock()
	return p.AppendPipeline.Close() //nolint:wrapcheck // Raft's own, for Raft
}
