package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/internal/outbox"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Bounds of one stream: calls run at a time, and answers in one message.
const (
	maxConcurrentHooks = 64
	maxBatch           = 256
)

// Point offers impl's resource types.
func Point(impl Bundle) plugin.Point {
	return protocol.NewPoint(protocol.PointResource, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterResourceServer(s, &server{impl: impl})
	})
}

type server struct {
	pluginv1.UnimplementedResourceServer
	impl Bundle
}

func (s *server) Definitions(context.Context, *pluginv1.DefinitionsRequest) (*pluginv1.DefinitionsResponse, error) {
	out, err := definitionsToWire(s.impl)
	if err != nil {
		return nil, protocol.PluginError(err)
	}
	return out, nil
}

func (s *server) Hooks(stream grpc.BidiStreamingServer[pluginv1.HooksRequest, pluginv1.HooksResponse]) error {
	h := &hookStream{
		impl:    s.impl,
		reading: map[uint64]chan *pluginv1.ReadResult{},
		slots:   make(chan struct{}, maxConcurrentHooks),
	}
	ctx, cancel := context.WithCancel(stream.Context())
	var running sync.WaitGroup
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		h.send(ctx, stream)
	}()
	err := h.receive(ctx, stream, &running)
	cancel()
	running.Wait()
	<-sent
	return err
}

// outgoing is one thing to be sent: a result or a read.
type outgoing struct {
	result *pluginv1.HookResult
	read   *pluginv1.Read
}

// hookStream serves the calls of one Hooks stream.
type hookStream struct {
	impl  Bundle
	out   outbox.Outbox[outgoing]
	slots chan struct{}

	mu       sync.Mutex
	lastRead uint64
	reading  map[uint64]chan *pluginv1.ReadResult
}

func (h *hookStream) send(ctx context.Context, stream grpc.BidiStreamingServer[pluginv1.HooksRequest, pluginv1.HooksResponse]) {
	for {
		items := h.out.Take(ctx.Done(), maxBatch)
		if items == nil {
			return
		}
		m := &pluginv1.HooksResponse{}
		for _, i := range items {
			if i.result != nil {
				m.Results = append(m.Results, i.result)
			} else {
				m.Reads = append(m.Reads, i.read)
			}
		}
		if stream.Send(m) != nil {
			return // receive sees the broken stream too
		}
	}
}

func (h *hookStream) receive(ctx context.Context, stream grpc.BidiStreamingServer[pluginv1.HooksRequest, pluginv1.HooksResponse], running *sync.WaitGroup) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range m.GetReads() {
			h.mu.Lock()
			ch := h.reading[r.GetId()]
			delete(h.reading, r.GetId())
			h.mu.Unlock()
			if ch != nil {
				ch <- r
			}
		}
		for _, c := range m.GetCalls() {
			running.Go(func() {
				// Waiting for a slot here and not in the loop: calls that hold slots may
				// wait for reads that this loop receives.
				select {
				case h.slots <- struct{}{}:
					defer func() { <-h.slots }()
				case <-ctx.Done():
					return
				}
				h.out.Put(outgoing{result: h.call(ctx, c)})
			})
		}
	}
}

func (h *hookStream) call(ctx context.Context, c *pluginv1.HookCall) *pluginv1.HookResult {
	out := &pluginv1.HookResult{Id: c.GetId()}
	if ms := c.GetTimeoutMs(); ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	r, err := requestFromWire(c.GetRequest())
	if err != nil {
		out.Error = err.Error()
		return out
	}
	r.Reader = &streamReader{h: h, call: c.GetId()}
	hooks := h.impl.Hooks(schema.GroupResource{Group: c.GetGroup(), Resource: c.GetPlural()})
	if err := dispatch(ctx, hooks, c, r, out); err != nil {
		errorToWire(err, out)
		return out
	}
	out.Warnings = r.Warnings
	if err := changed(r.Object, c.GetRequest().GetObject(), &out.Object); err != nil {
		out.Error = err.Error()
	}
	return out
}

// dispatch calls the hook that c names.
func dispatch(ctx context.Context, hooks any, c *pluginv1.HookCall, r *Request, out *pluginv1.HookResult) error {
	switch c.GetHook() {
	case pluginv1.Hook_HOOK_DEFAULT:
		if h, ok := hooks.(Defaulter); ok {
			return h.Default(ctx, r)
		}
	case pluginv1.Hook_HOOK_PREPARE:
		if h, ok := hooks.(Preparer); ok {
			return h.Prepare(ctx, r)
		}
	case pluginv1.Hook_HOOK_VALIDATE:
		if h, ok := hooks.(Validator); ok {
			out.FieldErrors = fieldErrorsToWire(h.Validate(ctx, r))
			return nil
		}
	case pluginv1.Hook_HOOK_GRACE_PERIOD:
		if h, ok := hooks.(Deleter); ok {
			var err error
			out.GracePeriod, err = h.GracePeriod(ctx, r, c.GracePeriod)
			return err
		}
	case pluginv1.Hook_HOOK_SUBRESOURCE:
		if h, ok := hooks.(Subresourcer); ok {
			return createSubresource(ctx, h, c, r, out)
		}
	case pluginv1.Hook_HOOK_VIRTUAL:
		if h, ok := hooks.(Virtual); ok {
			answer, err := h.CreateVirtual(ctx, r)
			if err != nil {
				return err
			}
			out.Response, err = protocol.EncodeTree(answer)
			return err
		}
	case pluginv1.Hook_HOOK_CELLS:
		if h, ok := hooks.(Printer); ok {
			var err error
			out.Cells, err = json.Marshal(h.Cells(r.Object))
			return err
		}
	default:
	}
	return fmt.Errorf("%s.%s has no hook %s", c.GetPlural(), c.GetGroup(), c.GetHook())
}

func createSubresource(ctx context.Context, h Subresourcer, c *pluginv1.HookCall, r *Request, out *pluginv1.HookResult) error {
	parent, err := protocol.DecodeTree(c.GetParent())
	if err != nil {
		return err
	}
	res, err := h.CreateSubresource(ctx, r, parent)
	if err != nil {
		return err
	}
	out.Delete = res.Delete
	if out.Response, err = protocol.EncodeTree(res.Response); err != nil {
		return err
	}
	if out.DeleteOptions, err = protocol.EncodeTree(res.DeleteOptions); err != nil {
		return err
	}
	return changed(parent, c.GetParent(), &out.Parent)
}

// changed puts the tree's JSON into out where it differs from what came.
func changed(tree map[string]any, came []byte, out *[]byte) error {
	now, err := protocol.EncodeTree(tree)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, came) {
		*out = now
	}
	return nil
}

// streamReader reads objects through the host, on behalf of one call.
type streamReader struct {
	h    *hookStream
	call uint64
}

var _ Reader = (*streamReader)(nil)

func (r *streamReader) Get(ctx context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	out, err := r.read(ctx, &pluginv1.Read{Group: gr.Group, Resource: gr.Resource, Namespace: namespace, Name: name})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}

func (r *streamReader) List(ctx context.Context, gr schema.GroupResource, namespace string) ([]map[string]any, error) {
	return r.read(ctx, &pluginv1.Read{Group: gr.Group, Resource: gr.Resource, Namespace: namespace, List: true})
}

func (r *streamReader) read(ctx context.Context, m *pluginv1.Read) ([]map[string]any, error) {
	ch := make(chan *pluginv1.ReadResult, 1)
	r.h.mu.Lock()
	r.h.lastRead++
	m.Id, m.Call = r.h.lastRead, r.call
	r.h.reading[m.Id] = ch
	r.h.mu.Unlock()
	r.h.out.Put(outgoing{read: m})
	select {
	case res := <-ch:
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
	case <-ctx.Done():
		r.h.mu.Lock()
		delete(r.h.reading, m.Id)
		r.h.mu.Unlock()
		return nil, ctx.Err()
	}
}
