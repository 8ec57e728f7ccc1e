package remote

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// callItem is one thing to be sent: a call, or the answer to a read.
type callItem[C any] = calls.Item[C, pluginv1.ReadResult]

// readingCalls are calls to one process that may read on their behalf.
type readingCalls[C, R any] = calls.Client[callItem[C], *R, resource.Reader]

// readingStream is the stream of such calls.
type readingStream[C, R any] struct {
	send   func(made []*C, reads []*pluginv1.ReadResult) error
	recv   func() (results []*R, reads []*pluginv1.Read, err error)
	id     func(*R) uint64
	size   func(*C) int    // about the bytes that a call takes
	ctx    context.Context //nolint:containedctx // the stream's
	cancel context.CancelFunc
}

func openReading[C, R any](ctx context.Context, s readingStream[C, R]) *readingCalls[C, R] {
	var c *readingCalls[C, R]
	opened := make(chan struct{})
	c = calls.Open[callItem[C], *R, resource.Reader](calls.Stream[callItem[C], *R]{
		Send: func(items []callItem[C]) error { return s.send(calls.Split(items)) },
		Recv: func() ([]*R, func(), error) {
			results, reads, err := s.recv()
			if err != nil || len(reads) == 0 {
				return results, nil, err
			}
			return results, func() {
				<-opened
				answerReads(ctx, reads, c.Kept, func(call uint64, res *pluginv1.ReadResult) {
					c.Put(call, callItem[C]{Read: res})
				})
			}, nil
		},
		ID: s.id,
		Size: func(i callItem[C]) int {
			if i.Work != nil {
				return s.size(i.Work)
			}
			return readSize(i.Read)
		},
		Context: s.ctx, Cancel: s.cancel,
	})
	close(opened)
	return c
}

// hookCalls are the hook calls to one process.
type hookCalls = readingCalls[pluginv1.HookCall, pluginv1.HookResult]

type hookItem = callItem[pluginv1.HookCall]

func openHooks(ctx context.Context, client pluginv1.ResourceClient) (*hookCalls, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Hooks(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return openReading(ctx, readingStream[pluginv1.HookCall, pluginv1.HookResult]{
		send: func(hooks []*pluginv1.HookCall, reads []*pluginv1.ReadResult) error {
			return stream.Send(&pluginv1.HooksRequest{Calls: hooks, Reads: reads})
		},
		recv: func() ([]*pluginv1.HookResult, []*pluginv1.Read, error) {
			m, err := stream.Recv()
			return m.GetResults(), m.GetReads(), err
		},
		id: (*pluginv1.HookResult).GetId,
		size: func(c *pluginv1.HookCall) int {
			return requestSize(c.GetRequest()) + len(c.GetParent())
		},
		ctx: stream.Context(), cancel: cancel,
	}), nil
}

// requestSize is about the bytes that a request takes.
func requestSize(r *pluginv1.HookRequest) int { return 256 + len(r.GetObject()) + len(r.GetOld()) }

// answerReads reads what calls ask for, each on its own, as reading may block.
func answerReads(ctx context.Context, reads []*pluginv1.Read, kept func(uint64) (resource.Reader, bool), put func(uint64, *pluginv1.ReadResult)) {
	bounds := readsOf(ctx)
	for _, r := range reads {
		from, ok := kept(r.GetCall())
		end := bounds.begin(ctx)
		go func() {
			defer end()
			res := &pluginv1.ReadResult{Id: r.GetId()}
			if !ok || from == nil {
				res.Error = "the call that reads has ended, or has no reader"
			} else if err := bounds.check(r); err != nil {
				res.Error = err.Error()
			} else if err := read(ctx, from, r, res); err != nil {
				res.Error = err.Error()
			}
			put(r.GetCall(), res)
		}()
	}
}

func readSize(r *pluginv1.ReadResult) int {
	n := 32
	for _, o := range r.GetObjects() {
		n += len(o)
	}
	return n
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
	size := 0
	for _, t := range trees {
		b, err := protocol.EncodeTree(t)
		if err != nil {
			return err
		}
		if size += len(b); size > maxReadBytes {
			into.Objects = nil
			return fmt.Errorf("the %d objects of %s take more than the %d MiB that a call may read: read them with the plugin's own client", len(trees), gr, maxReadBytes>>20)
		}
		into.Objects = append(into.Objects, b)
	}
	return nil
}

// maxReadBytes is what one read of a call may come to: an answer has to fit into a message.
const maxReadBytes = protocol.MaxMessageBytes / 2
