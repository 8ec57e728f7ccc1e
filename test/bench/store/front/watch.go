package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/pintle-dev/pintle/core/store"
)

// watches answers Watch: many watches share one stream, each has a goroutine.
type watches struct {
	etcdserverpb.UnimplementedWatchServer
	*server
}

// stream is one client's stream of watches.
type stream struct {
	*server
	ctx  context.Context
	wire etcdserverpb.Watch_WatchServer
	wg   sync.WaitGroup

	// sending orders what goes out: gRPC wants one sender at a time.
	sending sync.Mutex

	mu     sync.Mutex
	last   int64
	cancel map[int64]context.CancelFunc
}

// Watch implements etcdserverpb.WatchServer for keys and for prefixes that end in a slash,
// without filters, fragments and previous values.
func (s watches) Watch(wire etcdserverpb.Watch_WatchServer) error {
	ctx, cancel := context.WithCancel(wire.Context())
	st := &stream{server: s.server, ctx: ctx, wire: wire, cancel: map[int64]context.CancelFunc{}}
	defer st.wg.Wait()
	defer cancel()
	for {
		r, err := wire.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("receiving of watches: %w", err)
		}
		switch r := r.RequestUnion.(type) {
		case *etcdserverpb.WatchRequest_CreateRequest:
			err = st.create(r.CreateRequest)
		case *etcdserverpb.WatchRequest_CancelRequest:
			err = st.end(r.CancelRequest.WatchId)
		case *etcdserverpb.WatchRequest_ProgressRequest:
			err = st.send(&etcdserverpb.WatchResponse{Header: st.header(st.store.Revision()), WatchId: -1})
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) send(r *etcdserverpb.WatchResponse) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.wire.Send(r)
}

func (s *stream) create(r *etcdserverpb.WatchCreateRequest) error {
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	s.last++
	id := s.last
	s.cancel[id] = cancel
	s.mu.Unlock()

	revision := s.store.Revision()
	w, err := s.open(r, revision)
	if err != nil {
		cancel()
		return s.send(&etcdserverpb.WatchResponse{
			Header: s.header(revision), WatchId: id, Created: true, Canceled: true, CancelReason: err.Error(),
		})
	}
	if err := s.send(&etcdserverpb.WatchResponse{Header: s.header(revision), WatchId: id, Created: true}); err != nil {
		cancel()
		w.Close()
		return err
	}
	s.wg.Go(func() {
		defer w.Close()
		s.follow(ctx, id, w)
	})
	return nil
}

func (s *stream) open(r *etcdserverpb.WatchCreateRequest, revision uint64) (*store.Watcher, error) {
	key := r.Key
	if len(r.RangeEnd) > 0 {
		prefix, err := prefixOf(r.RangeEnd)
		if err != nil {
			return nil, err
		}
		key = prefix
	}
	if r.StartRevision > 0 {
		revision = uint64(r.StartRevision) - 1
	}
	return s.store.Watch(s.ctx, store.Key(key), revision)
}

// follow sends a watcher's events until it or the stream ends.
func (s *stream) follow(ctx context.Context, id int64, w *store.Watcher) {
	for {
		events, err := w.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				_ = s.send(&etcdserverpb.WatchResponse{
					Header: s.header(s.store.Revision()), WatchId: id, Canceled: true, CancelReason: err.Error(),
				})
			}
			return
		}
		out := &etcdserverpb.WatchResponse{
			Header: s.header(events[len(events)-1].Revision), WatchId: id,
			Events: make([]*mvccpb.Event, len(events)),
		}
		for i, ev := range events {
			out.Events[i] = event(ev)
		}
		if s.send(out) != nil {
			return
		}
	}
}

func event(ev *store.Event) *mvccpb.Event {
	kv := &mvccpb.KeyValue{Key: []byte(ev.Key), ModRevision: int64(ev.Revision)}
	if ev.Type == store.Deleted {
		return &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: kv}
	}
	kv.Value = ev.Data
	if ev.Type == store.Added {
		kv.CreateRevision = kv.ModRevision
	}
	return &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv}
}

// end stops one watch.
func (s *stream) end(id int64) error {
	s.mu.Lock()
	cancel := s.cancel[id]
	delete(s.cancel, id)
	s.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	return s.send(&etcdserverpb.WatchResponse{Header: s.header(s.store.Revision()), WatchId: id, Canceled: true})
}
