package remote

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// hookCalls are the hook calls to one process.
type hookCalls = calls.Client[hookItem, *pluginv1.HookResult, resource.Reader]

// hookItem is one thing to be sent: a call, or the answer to a read.
type hookItem struct {
	call *pluginv1.HookCall
	read *pluginv1.ReadResult
}

func (i hookItem) size() int {
	if i.call != nil {
		return 256 + len(i.call.GetRequest().GetObject()) + len(i.call.GetRequest().GetOld()) + len(i.call.GetParent())
	}
	return readSize(i.read)
}

func openHooks(ctx context.Context, client pluginv1.ResourceClient) (*hookCalls, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Hooks(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	var c *hookCalls
	opened := make(chan struct{})
	c = calls.Open[hookItem, *pluginv1.HookResult, resource.Reader](calls.Stream[hookItem, *pluginv1.HookResult]{
		Send: func(items []hookItem) error {
			m := &pluginv1.HooksRequest{}
			for _, i := range items {
				if i.call != nil {
					m.Calls = append(m.Calls, i.call)
				} else {
					m.Reads = append(m.Reads, i.read)
				}
			}
			return stream.Send(m)
		},
		Recv: func() ([]*pluginv1.HookResult, error) {
			m, err := stream.Recv()
			if err != nil {
				return nil, err
			}
			if len(m.GetReads()) > 0 {
				<-opened
				answerReads(ctx, m.GetReads(), c.Kept, func(call uint64, res *pluginv1.ReadResult) {
					c.Put(call, hookItem{read: res})
				})
			}
			return m.GetResults(), nil
		},
		ID: (*pluginv1.HookResult).GetId, Size: hookItem.size, Cancel: cancel,
	})
	close(opened)
	return c, nil
}

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
	for _, t := range trees {
		b, err := protocol.EncodeTree(t)
		if err != nil {
			return err
		}
		into.Objects = append(into.Objects, b)
	}
	return nil
}
