package authorization

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Point offers impl as an authorizer.
func Point(impl Authorizer) plugin.Point {
	return protocol.NewPoint(protocol.PointAuthorization, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterAuthorizationServer(s, &server{impl: impl})
	})
}

type server struct {
	pluginv1.UnimplementedAuthorizationServer
	impl Authorizer
}

func (s *server) Decisions(stream grpc.BidiStreamingServer[pluginv1.DecisionsRequest, pluginv1.DecisionsResponse]) error {
	return calls.Serve(stream.Context(), calls.Service[*pluginv1.AccessQuestion, *pluginv1.AccessAnswer]{
		Recv: func() ([]*pluginv1.AccessQuestion, error) {
			m, err := stream.Recv()
			return m.GetQuestions(), err
		},
		Send: func(answers []*pluginv1.AccessAnswer) error {
			return stream.Send(&pluginv1.DecisionsResponse{Answers: slices.Clone(answers)})
		},
		Handle: s.answer,
		Size:   func(*pluginv1.AccessAnswer) int { return 128 },
	}, nil)
}

func (s *server) answer(ctx context.Context, q *pluginv1.AccessQuestion) *pluginv1.AccessAnswer {
	out := &pluginv1.AccessAnswer{Id: q.GetId()}
	decision, reason, err := s.impl.Authorize(ctx, Attributes{
		User: resource.UserFromWire(q.GetUser()), Verb: q.GetVerb(), Group: q.GetGroup(), Version: q.GetVersion(),
		Resource: q.GetResource(), Subresource: q.GetSubresource(), Namespace: q.GetNamespace(), Name: q.GetName(),
		Path: q.GetPath(), FieldSelector: q.GetFieldSelector(), LabelSelector: q.GetLabelSelector(),
	})
	if err != nil {
		if out.Error = err.Error(); out.Error == "" {
			out.Error = "it could not be decided"
		}
		return out
	}
	out.Reason = reason
	switch decision {
	case Allow:
		out.Decision = pluginv1.Decision_DECISION_ALLOW
	case Deny:
		out.Decision = pluginv1.Decision_DECISION_DENY
	case NoOpinion:
	}
	return out
}
