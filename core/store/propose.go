package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
)

// MaxObjectBytes is the largest object that a write may carry, MaxNoteBytes the largest note.
const (
	MaxObjectBytes = 8 << 20
	MaxNoteBytes   = 512
)

const (
	// maxKeyBytes is well below what Badger takes.
	maxKeyBytes = 4 << 10
	// A log entry carries at most so many writes and, unless one alone is larger, bytes.
	maxBatchWrites = 1024
	maxBatchBytes  = 256 << 10
	// pipeline is how many entries are on their way at once: one being written to the
	// log, one being applied, and one or two being filled.
	pipeline = 4
	// enqueueTimeout bounds the wait for a Raft that does not take entries.
	enqueueTimeout = 10 * time.Second
)

// Stages of a proposal: a caller that gives up before the proposer took it is certain
// that nothing was written.
const (
	waiting int32 = iota
	taken
	abandoned
)

// proposal is one caller's write on its way.
type proposal struct {
	write command.Write
	stage atomic.Int32
	done  chan outcome
}

type outcome struct {
	result fsm.Result
	err    error
}

// flight is one log entry on its way.
type flight struct {
	batch []*proposal
	// buf is the entry; Raft's from when it was proposed here.
	buf    *[]byte
	future raft.ApplyFuture
	// released: callers may give up. thinned: some did, and buf has more than the batch.
	released, thinned bool
}

// proposer gathers concurrent writes into log entries: whoever comes while entries are on
// their way travels in the next one, and who comes alone goes at once.
type proposer struct {
	store   *Store
	queue   chan *proposal
	flights chan *flight
	slots   chan struct{}
	stop    chan struct{}
	wg      sync.WaitGroup
	buffers sync.Pool
}

func newProposer(s *Store) *proposer {
	p := &proposer{
		store:   s,
		queue:   make(chan *proposal, maxBatchWrites),
		flights: make(chan *flight, pipeline),
		slots:   make(chan struct{}, pipeline),
		stop:    make(chan struct{}),
	}
	p.buffers.New = func() any { b := make([]byte, 0, 32<<10); return &b }
	p.wg.Add(2)
	go p.propose()
	go p.complete()
	return p
}

// close stops taking writes and waits for those on their way; Raft must be shut down so
// that they end.
func (p *proposer) close() {
	close(p.stop)
	p.wg.Wait()
}

func (p *proposer) propose() {
	defer p.wg.Done()
	defer close(p.flights)
	for {
		var first *proposal
		select {
		case first = <-p.queue:
		case <-p.stop:
			p.refuse()
			return
		}
		select {
		case p.slots <- struct{}{}:
		case <-p.stop:
			first.done <- outcome{err: ErrClosed}
			p.refuse()
			return
		}
		f := p.gather(first)
		if len(f.batch) == 0 {
			<-p.slots
			p.buffers.Put(f.buf)
			continue
		}
		if p.store.proposesHere() {
			f.future = p.store.raft.Apply(*f.buf, enqueueTimeout)
			p.flights <- f
			continue
		}
		p.wg.Go(func() { p.reroute(f) })
	}
}

// gather fills an entry with what waits in the queue.
func (p *proposer) gather(first *proposal) *flight {
	buf := p.buffers.Get().(*[]byte)
	*buf = command.BeginWrites((*buf)[:0])
	f := &flight{buf: buf}
	for next := first; ; {
		if next.stage.CompareAndSwap(waiting, taken) {
			*buf = next.write.Append(*buf)
			f.batch = append(f.batch, next)
		}
		if len(f.batch) >= maxBatchWrites || len(*buf) >= maxBatchBytes {
			return f
		}
		select {
		case next = <-p.queue:
		default:
			return f
		}
	}
}

func (p *proposer) refuse() {
	for {
		select {
		case w := <-p.queue:
			w.done <- outcome{err: ErrClosed}
		default:
			return
		}
	}
}

func (p *proposer) complete() {
	defer p.wg.Done()
	for f := range p.flights {
		err := f.future.Error()
		if err != nil {
			if err = proposalError(err); errors.Is(err, ErrNotLeader) {
				f.buf = nil
				p.wg.Go(func() { p.reroute(f) })
				continue
			}
		}
		<-p.slots
		if err == nil {
			response := f.future.Response().(fsm.Response)
			if err = response.Err; err == nil && len(response.Results) == len(f.batch) {
				for i, w := range f.batch {
					w.done <- outcome{result: response.Results[i]}
				}
				p.reuse(f.buf)
				continue
			}
			err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
		f.fail(err)
	}
}

func (f *flight) fail(err error) {
	for _, w := range f.batch {
		w.done <- outcome{err: err}
	}
}

// reuse keeps the buffer of an applied entry: log and state have their own copies.
func (p *proposer) reuse(buf *[]byte) {
	if cap(*buf) <= 2*maxBatchBytes {
		p.buffers.Put(buf)
	}
}

// proposalError says what Raft's error means for the write.
func proposalError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: the log takes no entries: %w", ErrNotLeader, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// Write proposes one guarded change and returns the object as stored once it is committed
// and applied. For deletions the object is the last state with the deletion's revision
// spliced in. On ErrConflict and ErrExists the object is the current one. Data must not
// change until Write returns.
//
// When ctx ends first, the error is ctx's if certainly nothing was written, and otherwise
// wraps ErrUnknownOutcome too.
func (s *Store) Write(ctx context.Context, w Write) (Object, error) {
	p, err := s.admit(ctx, w)
	if err != nil {
		return Object{}, fmt.Errorf("write of %s: %w", w.Key, err)
	}
	select {
	case s.proposer.queue <- p:
	case <-ctx.Done():
		return Object{}, ctx.Err()
	case <-s.closing:
		return Object{}, ErrClosed
	}
	select {
	case o := <-p.done:
		return s.answer(w.Key, o)
	case <-s.closed:
		// Everything on its way has been answered before.
		select {
		case o := <-p.done:
			return s.answer(w.Key, o)
		default:
			return Object{}, fmt.Errorf("write of %s: %w", w.Key, ErrClosed)
		}
	case <-ctx.Done():
		if p.stage.CompareAndSwap(waiting, abandoned) {
			return Object{}, ctx.Err()
		}
		return Object{}, fmt.Errorf("write of %s: %w: %w", w.Key, ErrUnknownOutcome, ctx.Err())
	}
}

// admit checks what can be refused before anything is proposed.
func (s *Store) admit(ctx context.Context, w Write) (*proposal, error) {
	switch {
	case s.isClosed():
		return nil, ErrClosed
	case w.Check:
		return nil, errors.New("only a transaction can check without writing")
	}
	if err := checkWrite(&w); err != nil {
		return nil, err
	}
	if err := s.room.check(w.Delete); err != nil {
		return nil, err
	}
	c, err := s.commandOf(ctx, &w)
	if err != nil {
		return nil, err
	}
	return &proposal{done: make(chan outcome, 1), write: c}, nil
}

// checkWrite says what is wrong with a write by itself.
func checkWrite(w *Write) error {
	key := string(w.Key)
	switch {
	case strings.Count(key, "/") != 2 || strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/"):
		return errors.New("a key is \"bucket/namespace/name\"")
	case len(key) > maxKeyBytes:
		return fmt.Errorf("a key has at most %d bytes, this one %d", maxKeyBytes, len(key))
	case len(w.Data) > MaxObjectBytes:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(w.Data), MaxObjectBytes)
	case w.Check && (w.Delete || w.Data != nil || w.Expect == Any):
		return errors.New("a check has neither Data nor Delete, and expects something")
	case w.Delete != (w.Data == nil) && !w.Check:
		return errors.New("exactly one of Data and Delete must be set")
	case w.Delete && w.Expect == MustNotExist:
		return errors.New("a deletion can't expect that the object does not exist")
	case w.Expect < Any:
		return fmt.Errorf("expected revision %d is negative", w.Expect)
	case w.Note != nil && !w.Delete || len(w.Note) > MaxNoteBytes:
		return fmt.Errorf("a note of at most %d bytes is for deletions", MaxNoteBytes)
	case !w.Delete && w.RevisionAt > len(w.Data):
		return fmt.Errorf("RevisionAt %d is behind the %d bytes of Data", w.RevisionAt, len(w.Data))
	}
	return nil
}

func (s *Store) answer(key Key, o outcome) (Object, error) {
	if o.err != nil {
		return Object{}, fmt.Errorf("write of %s: %w", key, o.err)
	}
	var err error
	switch r := &o.result; r.Outcome {
	case fsm.Done:
		return Object{Key: key, Revision: r.Revision, Data: r.Value.Data()}, nil
	case fsm.NotFound:
		return Object{}, fmt.Errorf("write of %s: %w", key, ErrNotFound)
	case fsm.Exists:
		err = ErrExists
	default:
		err = ErrConflict
	}
	err = fmt.Errorf("write of %s: %w: it is at revision %d", key, err, o.result.Revision)
	// The current object helps the caller to go on, but the answer is the conflict.
	if o.result.Item == nil { // It was deleted here since another server answered.
		return Object{Key: key, Revision: o.result.Revision}, err
	}
	current, loadErr := s.object(o.result.Item, false)
	if loadErr != nil {
		return Object{Key: key, Revision: o.result.Revision}, err
	}
	return current, err
}
