package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl's resource types.
func Point(impl Bundle) plugin.Point {
	p := protocol.NewPoint(protocol.PointResource, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterResourceServer(s, &server{impl: impl})
	})
	p.Capabilities = []string{protocol.CapabilityChanges}
	return p
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
	h := &hookStream{impl: s.impl}
	service := calls.Service[*pluginv1.HookCall, outgoing]{
		Recv: func() ([]*pluginv1.HookCall, error) {
			m, err := stream.Recv()
			if err != nil {
				return nil, err
			}
			h.reads.Deliver(m.GetReads())
			return m.GetCalls(), nil
		},
		Send: func(items []outgoing) error {
			results, reads := calls.Split(items)
			return stream.Send(&pluginv1.HooksResponse{Results: results, Reads: reads})
		},
		Handle: func(ctx context.Context, c *pluginv1.HookCall) outgoing {
			return outgoing{Work: h.call(ctx, c)}
		},
		Size: func(o outgoing) int {
			n := 64 + len(o.Work.GetObject()) + len(o.Work.GetParent()) + protocol.ChangesSize(o.Work.GetChanges())
			for _, object := range o.Work.GetObjects() {
				n += len(object)
			}
			return n
		},
	}
	return calls.Serve(stream.Context(), service, func(out calls.Outbox[outgoing]) {
		h.reads.Ask = func(r *pluginv1.Read) { out.Put(outgoing{Read: r}) }
	})
}

// outgoing is one thing to be sent: a result or a read.
type outgoing = calls.Item[pluginv1.HookResult, pluginv1.Read]

// hookStream serves the calls of one Hooks stream.
type hookStream struct {
	impl  Bundle
	reads calls.Reads
}

func (h *hookStream) call(ctx context.Context, c *pluginv1.HookCall) *pluginv1.HookResult {
	out := &pluginv1.HookResult{Id: c.GetId()}
	r, err := RequestFromWire(c.GetRequest())
	if err != nil {
		out.Error = err.Error()
		return out
	}
	r.Reader = h.reads.For(c.GetId())
	hooks := h.impl.Hooks(schema.GroupResource{Group: c.GetGroup(), Resource: c.GetPlural()})
	if c.GetHook() == pluginv1.Hook_HOOK_CONVERT {
		if err := convertFromWire(ctx, hooks, c, out); err != nil {
			errorToWire(err, out)
		}
		return out
	}
	if err := dispatch(ctx, hooks, c, r, out); err != nil {
		errorToWire(err, out)
		return out
	}
	out.Warnings = r.Warnings
	if c.GetHook() == pluginv1.Hook_HOOK_VALIDATE || c.GetHook() == pluginv1.Hook_HOOK_CELLS {
		return out // neither may change it
	}
	came := c.GetRequest().GetObject()
	if c.GetAcceptsChanges() && r.Object != nil {
		out.Changes, out.Object, err = protocol.ChangesOrWhole(came, r.Object)
	} else {
		err = changed(r.Object, came, &out.Object)
	}
	if err != nil {
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
	if tree == nil {
		return nil
	}
	return protocol.WithEncoded(tree, func(now []byte) {
		if !bytes.Equal(now, came) {
			*out = bytes.Clone(now)
		}
	})
}
