package remote

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/internal/outbox"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// maxBatch is the number of calls in one message.
const maxBatch = 256

type hooksClient = grpc.BidiStreamingClient[pluginv1.HooksRequest, pluginv1.HooksResponse]

// hookStream carries the hook calls to one process. done is closed when it ends.
type hookStream struct {
	plugin string
	stream hooksClient
	cancel context.CancelFunc
	done   chan struct{}
	out    outbox.Outbox[outgoing]

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]pendingCall
}

type outgoing struct {
	call *pluginv1.HookCall
	read *pluginv1.ReadResult
}

type pendingCall struct {
	result chan *pluginv1.HookResult
	reader resource.Reader
}

func openHooks(ctx context.Context, client pluginv1.ResourceClient, plugin string) (*hookStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Hooks(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &hookStream{
		plugin: plugin, stream: stream, cancel: cancel,
		done: make(chan struct{}), pending: map[uint64]pendingCall{},
	}
	go s.send(ctx)
	go s.receive(ctx)
	return s, nil
}

func (s *hookStream) close() {
	s.cancel()
	<-s.done
}

// begin queues a call and returns where its result will come.
func (s *hookStream) begin(c *pluginv1.HookCall, reader resource.Reader) (uint64, <-chan *pluginv1.HookResult) {
	p := pendingCall{result: make(chan *pluginv1.HookResult, 1), reader: reader}
	s.mu.Lock()
	s.lastID++
	c.Id = s.lastID
	s.pending[c.Id] = p
	s.mu.Unlock()
	s.out.Put(outgoing{call: c})
	return c.Id, p.result
}

// end forgets a call.
func (s *hookStream) end(id uint64) {
	s.mu.Lock()
	delete(s.pending, id)
	s.mu.Unlock()
}

func (s *hookStream) send(ctx context.Context) {
	defer s.cancel()
	for {
		items := s.out.Take(ctx.Done(), maxBatch)
		if items == nil {
			return
		}
		m := &pluginv1.HooksRequest{}
		for _, i := range items {
			if i.call != nil {
				m.Calls = append(m.Calls, i.call)
			} else {
				m.Reads = append(m.Reads, i.read)
			}
		}
		if s.stream.Send(m) != nil {
			return
		}
	}
}

func (s *hookStream) receive(ctx context.Context) {
	defer close(s.done)
	defer s.out.Close()
	defer s.cancel()
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return
		}
		for _, r := range m.GetResults() {
			s.mu.Lock()
			p, ok := s.pending[r.GetId()]
			delete(s.pending, r.GetId())
			s.mu.Unlock()
			if ok {
				p.result <- r
			}
		}
		for _, r := range m.GetReads() {
			s.mu.Lock()
			p, ok := s.pending[r.GetCall()]
			s.mu.Unlock()
			go func() {
				res := &pluginv1.ReadResult{Id: r.GetId()}
				if !ok || p.reader == nil {
					res.Error = "the call that reads has ended, or has no reader"
				} else if err := read(ctx, p.reader, r, res); err != nil {
					res.Error = err.Error()
				}
				s.out.Put(outgoing{read: res})
			}()
		}
	}
}

// read answers a read of a hook.
func read(ctx context.Context, from resource.Reader, r *pluginv1.Read, into *pluginv1.ReadResult) error {
	gr := schema.GroupResource{Group: r.GetGroup(), Resource: r.GetResource()}
	var trees []map[string]any
	if r.GetList() {
		list, err := from.List(ctx, gr, r.GetNamespace())
		if err != nil {
			return err
		}
		trees = list
	} else {
		tree, err := from.Get(ctx, gr, r.GetNamespace(), r.GetName())
		if err != nil {
			return err
		}
		if tree != nil {
			trees = append(trees, tree)
		}
	}
	for _, t := range trees {
		b, err := protocol.EncodeTree(t)
		if err != nil {
			return err
		}
		into.Objects = append(into.Objects, b)
	}
	return nil
}
