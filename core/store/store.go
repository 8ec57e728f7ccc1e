package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
	"github.com/pintle-dev/pintle/core/store/internal/index"
	"github.com/pintle-dev/pintle/core/store/internal/snapshot"
)

const (
	logDir      = "raft"
	snapshotDir = "snapshots"
	// segmentBytes of the Raft log are allocated at a time and read at a start.
	segmentBytes = 16 << 20
)

// Store is one server's replica of the state. Its methods may be called from any
// goroutine.
type Store struct {
	cfg  Config
	log  *slog.Logger
	room *room

	engine    *engine.Engine
	index     *index.Index
	events    *eventLog
	machine   *fsm.Machine
	snapshots *snapshot.Store
	logs      *raftLog
	transport raft.Transport
	raft      *raft.Raft
	proposer  *proposer

	// applied is the log index of the state machine, horizon the oldest revision whose
	// history is complete.
	applied, horizon atomic.Uint64
	// reached is woken when the revision moves.
	reached topic
	leading leadership
	// keyless: others encrypt and this server has no keys.
	keyless atomic.Bool
	// lead is who leads; peers, where this server has an address for others, the way to them.
	lead     leadView
	peers    *peers
	barriers rounds
	// removed: the leader has said that this server is none of the cluster's.
	removed atomic.Bool
	// pausing counts those who are handing over the lead.
	pausing atomic.Int32

	// damaged is the first damage that was found, nil where none was.
	damaged atomic.Pointer[string]
	// merging is set while tables are merged.
	merging atomic.Bool
	// trimmed is what had been written to the log when it was last cut; for housekeep.
	trimmed struct{ bytes, entries uint64 }

	close    sync.Once
	closeErr error
	// closing is closed when Close begins, closed when it is done.
	closing, closed chan struct{}
	background      sync.WaitGroup
}

// open is Open of a directory that is not damaged.
func open(ctx context.Context, cfg Config) (_ *Store, err error) {
	s := &Store{
		cfg: cfg, log: cfg.Logger.With("component", "store"),
		closing: make(chan struct{}), closed: make(chan struct{}),
	}
	s.leading.changed = make(chan struct{})
	if s.engine, err = engine.Open(cfg.Dir, s.log); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() {
		if err != nil {
			s.engine.Abandon()
			err = errors.Join(err, s.Close())
		}
	}()
	if s.room, err = newRoom(cfg.Dir, cfg.MinFreeBytes); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.openState(ctx); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.openRaft(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.background.Add(3)
	go s.followLead()
	go s.watchLeadership()
	go s.housekeep()
	if err := s.leadAlone(ctx); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return s, nil
}

// openState brings the state to where it surely was before, in memory too.
func (s *Store) openState(ctx context.Context) (err error) {
	s.snapshots, err = snapshot.Open(filepath.Join(s.cfg.Dir, snapshotDir), states{s.engine}, engine.WriteFile)
	if err != nil {
		return err
	}
	last, received, _ := s.snapshots.Latest()
	var meta engine.Meta
	if received {
		// The last run ended between receiving a leader's snapshot and becoming it.
		if meta, err = s.absorb(); err != nil {
			return err
		}
	} else if meta, err = recoverMeta(s.engine, engine.Meta(last)); err != nil {
		return err
	}
	meta.Revision = max(meta.Revision, fsm.FirstRevision)
	if err := s.loadKeys(ctx); err != nil {
		return err
	}
	if s.index, err = s.loadIndex(meta, s.cfg.Sealer == nil); err != nil {
		return err
	}
	s.events = newEventLog(s.cfg.EventBytes, meta.Revision, s.index.Changed())
	s.horizon.Store(meta.Horizon)
	s.applied.Store(meta.Applied)
	s.machine = fsm.New(s.index, stateOnDisk{s.engine, s}, s, meta)
	s.engine.SetDiscard(meta.Horizon)
	return nil
}

func (s *Store) absorb() (engine.Meta, error) {
	r, err := s.snapshots.OpenReceived()
	if err != nil {
		return engine.Meta{}, err
	}
	defer r.Close()
	meta, err := s.engine.Replace(r)
	if err != nil {
		return engine.Meta{}, fmt.Errorf("installing a snapshot received before: %w", err)
	}
	return meta, s.snapshots.Absorbed(snapshot.State(meta))
}

func (s *Store) openRaft() (err error) {
	logger := raftLogger(s.log)
	dir := filepath.Join(s.cfg.Dir, logDir)
	if s.logs, err = openLog(dir, logger); err != nil {
		return err
	}
	if err := s.checkLog(); err != nil {
		return err
	}
	taken, err := s.snapshots.List()
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		if err := s.logs.cutBefore(taken[0].Index); err != nil {
			return err
		}
	}
	if s.transport, err = s.newTransport(); err != nil {
		return err
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(s.cfg.NodeID)
	conf.Logger = logger
	conf.HeartbeatTimeout = s.cfg.HeartbeatTimeout
	conf.ElectionTimeout = s.cfg.HeartbeatTimeout
	// A leader that reaches nobody leads on for as long as the others wait before they elect
	// another. That is safe: it answers nothing without asking them. A shorter lease would
	// only lose leaders that were not given the processor for a moment.
	conf.LeaderLeaseTimeout = s.cfg.HeartbeatTimeout
	conf.ShutdownOnRemove = false // it says so instead
	conf.SnapshotInterval = s.cfg.SnapshotInterval
	conf.SnapshotThreshold = s.cfg.SnapshotEntries
	conf.TrailingLogs = s.cfg.TrailingEntries
	conf.NoSnapshotRestoreOnStart = true
	conf.NoLegacyTelemetry = true
	changes := make(chan bool, 16)
	conf.NotifyCh = changes
	s.leading.notify = changes

	if err := s.adoptRestored(); err != nil {
		return err
	}
	exists, err := raft.HasExistingState(s.logs, s.logs, s.snapshots)
	if err != nil {
		return fmt.Errorf("reading the Raft log in %s: %w", dir, err)
	}
	if !exists && s.cfg.Bootstrap {
		first := raft.Configuration{Servers: []raft.Server{{ID: conf.LocalID, Address: s.transport.LocalAddr()}}}
		if err := raft.BootstrapCluster(conf, s.logs, s.logs, s.snapshots, s.transport, first); err != nil {
			return fmt.Errorf("bootstrapping: %w", err)
		}
	}
	transport, err := s.guarded(s.transport)
	if err != nil {
		return err
	}
	if s.raft, err = raft.NewRaft(conf, replica{s}, s.logs, s.logs, s.snapshots, transport); err != nil {
		return fmt.Errorf("starting Raft: %w", err)
	}
	if err := s.logs.NoteServers(s.raft.GetConfiguration().Configuration()); err != nil {
		return err
	}
	s.lead.set("", "", false)
	s.proposer = newProposer(s)
	if s.peers != nil {
		s.peers.start()
	}
	return nil
}

// Close stops taking part, makes everything durable and releases the directory. Calls
// that wait end with ErrClosed.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		var errs []error
		if s.raft != nil {
			ended := s.raft.Shutdown()
			if t, ok := s.transport.(*sharedTransport); ok {
				errs = append(errs, t.pipelines.close())
			}
			errs = append(errs, ended.Error())
			s.proposer.close()
		}
		if s.peers != nil {
			s.peers.client.Close()
		}
		s.background.Wait()
		if s.transport != nil {
			errs = append(errs, closeTransport(s.cfg, s.transport))
		}
		if s.logs != nil {
			errs = append(errs, s.logs.Close())
		}
		if s.machine != nil {
			if m, err := s.machine.Meta(); err == nil {
				errs = append(errs, s.engine.SaveMeta(m))
			}
		}
		if s.snapshots != nil {
			s.snapshots.Close()
		}
		errs = append(errs, s.engine.Close())
		s.closeErr = errors.Join(errs...)
		close(s.closed)
	})
	<-s.closed
	return s.closeErr
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// WaitFor returns once revision is applied here.
func (s *Store) WaitFor(ctx context.Context, revision uint64) error {
	for {
		moved := s.reached.wait()
		if s.index.Revision() >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting for revision %d: %w", revision, ctx.Err())
		case <-s.closing:
			return ErrClosed
		}
	}
}
