package calls

import (
	"context"
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Reads asks for objects over the stream on which calls come, on behalf of a call.
type Reads struct {
	// Ask sends a read.
	Ask func(*pluginv1.Read)

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *pluginv1.ReadResult
}

// Deliver takes the answers in a message.
func (r *Reads) Deliver(results []*pluginv1.ReadResult) {
	for _, res := range results {
		r.mu.Lock()
		ch := r.waiting[res.GetId()]
		delete(r.waiting, res.GetId())
		r.mu.Unlock()
		if ch != nil {
			ch <- res
		}
	}
}

// For returns what reads on behalf of a call.
func (r *Reads) For(call uint64) *Reader { return &Reader{reads: r, call: call} }

// Reader reads on behalf of one call; it is a resource.Reader.
type Reader struct {
	reads *Reads
	call  uint64
}

// Get returns an object, nil where there is none.
func (r *Reader) Get(ctx context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	out, err := r.read(ctx, &pluginv1.Read{Group: gr.Group, Resource: gr.Resource, Namespace: namespace, Name: name})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}

// List returns all objects of a namespace, or of all where it is empty.
func (r *Reader) List(ctx context.Context, gr schema.GroupResource, namespace string) ([]map[string]any, error) {
	return r.read(ctx, &pluginv1.Read{Group: gr.Group, Resource: gr.Resource, Namespace: namespace, List: true})
}

func (r *Reader) read(ctx context.Context, m *pluginv1.Read) ([]map[string]any, error) {
	ch := make(chan *pluginv1.ReadResult, 1)
	r.reads.mu.Lock()
	if r.reads.waiting == nil {
		r.reads.waiting = map[uint64]chan *pluginv1.ReadResult{}
	}
	r.reads.last++
	m.Id, m.Call = r.reads.last, r.call
	r.reads.waiting[m.Id] = ch
	r.reads.mu.Unlock()
	r.reads.Ask(m)
	select {
	case res := <-ch:
		return objects(res)
	case <-ctx.Done():
		r.reads.mu.Lock()
		delete(r.reads.waiting, m.Id)
		r.reads.mu.Unlock()
		return nil, ctx.Err()
	}
}

func objects(res *pluginv1.ReadResult) ([]map[string]any, error) {
	if res.GetError() != "" {
		return nil, errors.New(res.GetError())
	}
	out := make([]map[string]any, 0, len(res.GetObjects()))
	for _, b := range res.GetObjects() {
		tree, err := protocol.DecodeTree(b)
		if err != nil {
			return nil, err
		}
		out = append(out, tree)
	}
	return out, nil
}
