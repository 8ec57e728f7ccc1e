package store

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/snapshot"
)

// replica is the state machine as Raft sees it.
type replica struct{ s *Store }

var _ raft.BatchingFSM = replica{}

// Apply implements raft.FSM.
func (r replica) Apply(l *raft.Log) any { return r.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (r replica) ApplyBatch(logs []*raft.Log) []any {
	entries := make([]fsm.Entry, len(logs))
	for i, l := range logs {
		entries[i].Index = l.Index
		if l.Type == raft.LogCommand {
			entries[i].Data = l.Data
		}
	}
	out := make([]any, len(logs))
	if !r.waitForRoom() {
		for i := range out {
			out[i] = fsm.Response{Err: ErrClosed}
		}
		return out
	}
	before, failed := r.s.machine.Meta()
	responses := r.s.machine.Apply(entries)
	for i := range responses {
		out[i] = responses[i]
	}
	after, err := r.s.machine.Meta()
	if err != nil && failed == nil {
		r.s.log.Error("The state machine has stopped; reads go on at the last revision", "revision", after.Revision, "error", err)
	}
	if after != before {
		r.s.applied.Store(after.Applied)
	}
	if err == nil && !r.s.engine.Trusted() && after.Applied >= r.s.logs.Extent().Last.Index {
		if err := r.s.engine.Trust(after); err != nil {
			r.s.log.Warn("Noting that the state is complete again", "error", err)
		}
	}
	return out
}

// waitForRoom blocks while the disk is too full to write the state: what was agreed on
// can't be refused any more, only be late. It returns false when the store closes.
func (r replica) waitForRoom() bool {
	if r.s.room.canApply() {
		return true
	}
	r.s.log.Error("The disk is full: agreed writes wait until there is room", "directory", r.s.room.dir)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !r.s.room.canApply() {
		select {
		case <-tick.C:
		case <-r.s.closing:
			return false
		}
	}
	return true
}

// Snapshot implements raft.FSM. It only remembers where the state is.
func (r replica) Snapshot() (raft.FSMSnapshot, error) {
	m, err := r.s.machine.Meta()
	if err != nil {
		return nil, err
	}
	return capture{s: r.s, meta: m}, nil
}

// Restore implements raft.FSM: the state becomes that of a snapshot from the leader.
func (r replica) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	s := r.s
	meta, err := s.engine.Replace(rc)
	if err != nil {
		return fmt.Errorf("installing a snapshot: %w", err)
	}
	s.horizon.Store(meta.Horizon)
	s.relearn()
	fresh, err := s.loadIndex(meta, false)
	if err != nil {
		return fmt.Errorf("installing a snapshot: %w", err)
	}
	s.index.Reset(fresh)
	s.machine.Restored(meta)
	s.events.begin(meta.Revision, meta.Revision, fresh.Changed())
	s.applied.Store(meta.Applied)
	s.reached.wake()
	return s.snapshots.Absorbed(snapshot.State(meta))
}

// TakeSnapshot makes the state durable now and cuts the log behind it, as happens by
// itself from time to time.
func (s *Store) TakeSnapshot() error {
	if err := s.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("taking a snapshot: %w", err)
	}
	return nil
}

// capture is a snapshot being taken.
type capture struct {
	s    *Store
	meta engine.Meta
}

// Persist implements raft.FSMSnapshot: the state is durable by itself, so it is made so
// and the snapshot only says how far.
func (c capture) Persist(sink raft.SnapshotSink) error {
	own, ok := sink.(*snapshot.Sink)
	if !ok {
		return fmt.Errorf("snapshot sink is a %T", sink)
	}
	if err := c.s.engine.SaveMeta(c.meta); err != nil {
		return err
	}
	if err := c.s.engine.Sync(); err != nil {
		return err
	}
	own.SetState(snapshot.State(c.meta))
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (capture) Release() {}

// states gives the engine the shape that the snapshot store wants.
type states struct{ engine *engine.Engine }

func (x states) Open(st snapshot.State) (int64, io.ReadCloser, error) {
	return x.engine.OpenStream(engine.Meta(st))
}

func (x states) Pin(st snapshot.State) func() { return x.engine.Pin(st.Revision) }

// stateOnDisk is the engine as the state machine sees it, with the horizon made known to
// readers before anything behind it goes.
type stateOnDisk struct {
	*engine.Engine
	s *Store
}

func (d stateOnDisk) SetDiscard(revision uint64) {
	d.s.horizon.Store(revision)
	d.Engine.SetDiscard(revision)
}

// Changed implements fsm.Observer.
func (s *Store) Changed(changes []fsm.Change, revision uint64) {
	s.learn(changes)
	s.events.add(changes, revision)
	s.reached.wake()
}
