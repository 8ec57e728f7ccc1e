package raftlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// These are core/store's: what an entry carries at most, how many entries are on
	// their way at once, and how many stay behind a snapshot.
	maxBatchWrites = 1024
	maxBatchBytes  = 256 << 10
	pipeline       = 4
	enqueueTimeout = 10 * time.Second

	valueBytes = 1024
	sumBytes   = 4
)

// Load is what is put on a log.
type Load struct {
	// InFlight is how many writers wait for their write at a time.
	InFlight int
	// SnapshotEvery and Keep say how often the log is cut, and how many entries stay
	// then. They are shorter than core/store's, so that a short run sees cuts.
	SnapshotEvery time.Duration
	Keep          uint64
}

// Server is Raft with one voter over a log, and the proposer in front of it.
type Server struct {
	raft   *raft.Raft
	log    Log
	queue  chan *write
	stop   chan struct{}
	wg     sync.WaitGroup
	writes atomic.Int64
	acked  atomic.Uint64
}

// write is one writer's; done is told when it is durable and applied.
type write struct {
	data []byte
	done chan error
}

type flight struct {
	batch  []*write
	future raft.ApplyFuture
}

// Start starts Raft over an empty log and waits until it leads.
func Start(ctx context.Context, l Log, load Load) (*Server, error) {
	conf := raft.DefaultConfig()
	conf.LocalID = "server"
	conf.Logger = hclog.NewNullLogger()
	conf.NoLegacyTelemetry = true
	conf.SnapshotInterval = load.SnapshotEvery
	conf.SnapshotThreshold = 2 * load.Keep
	conf.TrailingLogs = load.Keep
	leads := make(chan bool, 1)
	conf.NotifyCh = leads
	address, transport := raft.NewInmemTransport("server")
	snapshots := raft.NewDiscardSnapshotStore()
	first := raft.Configuration{Servers: []raft.Server{{ID: conf.LocalID, Address: address}}}
	if err := raft.BootstrapCluster(conf, l, l, snapshots, transport, first); err != nil {
		return nil, fmt.Errorf("bootstrapping: %w", err)
	}
	r, err := raft.NewRaft(conf, nothing{}, l, l, snapshots, transport)
	if err != nil {
		return nil, fmt.Errorf("starting Raft: %w", err)
	}
	select {
	case <-leads:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), r.Shutdown().Error())
	}
	s := &Server{raft: r, log: l, queue: make(chan *write, maxBatchWrites), stop: make(chan struct{})}
	flights := make(chan flight, pipeline)
	slots := make(chan struct{}, pipeline)
	s.wg.Go(func() { s.propose(flights, slots) })
	s.wg.Go(func() { s.complete(flights, slots) })
	return s, nil
}

// Close ends Raft and the log.
func (s *Server) Close() error {
	close(s.stop)
	err := s.raft.Shutdown().Error()
	s.wg.Wait()
	return errors.Join(err, s.log.Close())
}

// propose gathers what waits into entries.
func (s *Server) propose(flights chan<- flight, slots chan<- struct{}) {
	defer close(flights)
	for {
		var next *write
		select {
		case next = <-s.queue:
		case <-s.stop:
			return
		}
		select {
		case slots <- struct{}{}:
		case <-s.stop:
			next.done <- raft.ErrRaftShutdown
			return
		}
		var f flight
		entry := make([]byte, sumBytes, sumBytes+valueBytes)
		for next != nil {
			entry = append(entry, next.data...)
			f.batch = append(f.batch, next)
			if len(f.batch) >= maxBatchWrites || len(entry) >= maxBatchBytes {
				break
			}
			select {
			case next = <-s.queue:
			default:
				next = nil
			}
		}
		binary.LittleEndian.PutUint32(entry, crc32.ChecksumIEEE(entry[sumBytes:]))
		f.future = s.raft.Apply(entry, enqueueTimeout)
		flights <- f
	}
}

func (s *Server) complete(flights <-chan flight, slots <-chan struct{}) {
	for f := range flights {
		err := f.future.Error()
		<-slots
		if err == nil {
			s.writes.Add(int64(len(f.batch)))
			s.acked.Store(f.future.Index())
		}
		for _, w := range f.batch {
			w.done <- err
		}
	}
}

// Write lets so many writers write until ctx ends.
func (s *Server) Write(ctx context.Context, inFlight int) error {
	errs := make([]error, inFlight)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			w := &write{data: make([]byte, valueBytes), done: make(chan error, 1)}
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for j := 0; j < valueBytes; j += 8 {
				binary.LittleEndian.PutUint64(w.data[j:], r.Uint64())
			}
			for ctx.Err() == nil {
				select {
				case s.queue <- w:
				case <-ctx.Done():
					return
				}
				// Even after ctx has ended: the entry on its way refers to the bytes.
				if errs[i] = <-w.done; errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Writes is how many writes were acknowledged, Acked the newest entry that was.
func (s *Server) Writes() int64 { return s.writes.Load() }

// Acked is the index of the newest acknowledged entry.
func (s *Server) Acked() uint64 { return s.acked.Load() }

// Read reads every entry of a log one after the other, as a follower does that applies
// them, and checks their sums. It returns how many there are and the last index.
func Read(l raft.LogStore) (entries int, bytes int64, last uint64, err error) {
	first, err := l.FirstIndex()
	if err != nil {
		return 0, 0, 0, err
	}
	if last, err = l.LastIndex(); err != nil {
		return 0, 0, 0, err
	}
	for i := max(first, 1); i <= last; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); err != nil {
			return entries, bytes, last, fmt.Errorf("entry %d of %d to %d: %w", i, first, last, err)
		}
		if e.Index != i {
			return entries, bytes, last, fmt.Errorf("entry %d says that it is %d", i, e.Index)
		}
		if e.Type == raft.LogCommand {
			if len(e.Data) < sumBytes || binary.LittleEndian.Uint32(e.Data) != crc32.ChecksumIEEE(e.Data[sumBytes:]) {
				return entries, bytes, last, fmt.Errorf("entry %d is damaged", i)
			}
		}
		entries++
		bytes += int64(len(e.Data))
	}
	return entries, bytes, last, nil
}

// nothing is a state machine that keeps nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (nothing) Release()                            {}
