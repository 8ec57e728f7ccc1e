package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Point offers impl's admission.
func Point(impl Admission) plugin.Point {
	p := protocol.NewPoint(protocol.PointAdmission, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterAdmissionServer(s, &server{impl: impl})
	})
	p.Capabilities = []string{protocol.CapabilityChanges}
	return p
}

type server struct {
	pluginv1.UnimplementedAdmissionServer
	impl Admission
}

func (s *server) Declare(context.Context, *pluginv1.DeclareRequest) (*pluginv1.DeclareResponse, error) {
	d := s.impl.Declare()
	if err := d.Complete(); err != nil {
		return nil, protocol.PluginError(fmt.Errorf("declaration: %w", err))
	}
	out, err := declarationToWire(d)
	if err != nil {
		return nil, protocol.PluginError(fmt.Errorf("declaration: %w", err))
	}
	if out.Steps = stepsOf(s.impl); len(out.Steps) == 0 {
		return nil, protocol.PluginError(fmt.Errorf("%T implements neither admission.Mutator nor admission.Validator", s.impl))
	}
	return out, nil
}

// outgoing is one thing to be sent: a result or a read.
type outgoing = calls.Item[pluginv1.ReviewResult, pluginv1.Read]

func (s *server) Reviews(stream grpc.BidiStreamingServer[pluginv1.ReviewsRequest, pluginv1.ReviewsResponse]) error {
	var reads calls.Reads
	return calls.Serve(stream.Context(), calls.Service[*pluginv1.Review, outgoing]{
		Recv: func() ([]*pluginv1.Review, error) {
			m, err := stream.Recv()
			if err != nil {
				return nil, err
			}
			reads.Deliver(m.GetReads())
			return m.GetReviews(), nil
		},
		Send: func(items []outgoing) error {
			results, reads := calls.Split(items)
			return stream.Send(&pluginv1.ReviewsResponse{Results: results, Reads: reads})
		},
		Handle: func(ctx context.Context, c *pluginv1.Review) outgoing {
			return outgoing{Work: s.review(ctx, c, reads.For(c.GetId()))}
		},
		Size: func(o outgoing) int {
			return 64 + len(o.Work.GetObject()) + protocol.ChangesSize(o.Work.GetChanges())
		},
	}, func(out calls.Outbox[outgoing]) {
		reads.Ask = func(r *pluginv1.Read) { out.Put(outgoing{Read: r}) }
	})
}

// review answers one call.
func (s *server) review(ctx context.Context, c *pluginv1.Review, reader resource.Reader) *pluginv1.ReviewResult {
	out := &pluginv1.ReviewResult{Id: c.GetId()}
	r, err := requestFromWire(c, reader)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	r.Annotate = func(key, value string) {
		if out.Annotations == nil {
			out.Annotations = map[string]string{}
		}
		out.Annotations[key] = value
	}
	changed, err := s.dispatch(ctx, c.GetStep(), r)
	out.Warnings = r.Warnings
	switch {
	case err != nil:
		refuse(err, out)
	case changed && c.GetAcceptsChanges():
		if out.Changes, out.Object, err = protocol.ChangesOrWhole(c.GetRequest().GetObject(), r.Object); err != nil {
			out.Error = err.Error()
		}
	case changed:
		if out.Object, err = protocol.EncodeTreeLoosely(r.Object); err != nil {
			out.Error = err.Error()
		}
	}
	return out
}

func (s *server) dispatch(ctx context.Context, step pluginv1.ReviewStep, r *Request) (changed bool, err error) {
	switch step {
	case pluginv1.ReviewStep_REVIEW_STEP_MUTATE:
		if m, ok := s.impl.(Mutator); ok {
			return m.Mutate(ctx, r)
		}
	case pluginv1.ReviewStep_REVIEW_STEP_VALIDATE:
		if v, ok := s.impl.(Validator); ok {
			return false, v.Validate(ctx, r)
		}
	default:
	}
	return false, fmt.Errorf("the plugin does not do %s", step)
}

func requestFromWire(c *pluginv1.Review, reader resource.Reader) (*Request, error) {
	base, err := resource.RequestFromWire(c.GetRequest())
	if err != nil {
		return nil, err
	}
	base.Reader = reader
	options, err := protocol.DecodeTree(c.GetOptions())
	if err != nil {
		return nil, err
	}
	return &Request{Request: base, Options: options, Round: int(c.GetRound())}, nil
}

// refuse puts an error into a result: as a Status where it carries one.
func refuse(err error, into *pluginv1.ReviewResult) {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		s := status.Status()
		if b, merr := json.Marshal(&s); merr == nil {
			into.Status = b
			return
		}
	}
	if into.Error = err.Error(); into.Error == "" {
		into.Error = "refused without explanation"
	}
}
