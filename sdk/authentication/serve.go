package authentication

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as an authenticator.
func Point(impl Authenticator) plugin.Point {
	return protocol.NewPoint(protocol.PointAuthentication, func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterAuthenticationServer(s, &server{impl: impl})
	})
}

type server struct {
	pluginv1.UnimplementedAuthenticationServer
	impl Authenticator
}

func (s *server) Tokens(stream grpc.BidiStreamingServer[pluginv1.TokensRequest, pluginv1.TokensResponse]) error {
	return calls.Serve(stream.Context(), calls.Service[*pluginv1.TokenQuestion, *pluginv1.TokenAnswer]{
		Recv: func() ([]*pluginv1.TokenQuestion, error) {
			m, err := stream.Recv()
			return m.GetQuestions(), err
		},
		Send: func(answers []*pluginv1.TokenAnswer) error {
			return stream.Send(&pluginv1.TokensResponse{Answers: slices.Clone(answers)})
		},
		Handle: s.answer,
		Size:   func(*pluginv1.TokenAnswer) int { return 256 },
	}, nil)
}

func (s *server) answer(ctx context.Context, q *pluginv1.TokenQuestion) *pluginv1.TokenAnswer {
	out := &pluginv1.TokenAnswer{Id: q.GetId()}
	r, ok, err := s.impl.AuthenticateToken(ctx, Token{Secret: q.GetToken(), Audiences: q.GetAudiences()})
	switch {
	case err != nil:
		if out.Error = err.Error(); out.Error == "" {
			out.Error = "refused without explanation"
		}
	case ok:
		out.Authenticated, out.Audiences = true, r.Audiences
		u := &pluginv1.User{Name: r.User.Name, Uid: r.User.UID, Groups: r.User.Groups}
		for k, v := range r.User.Extra {
			if u.Extra == nil {
				u.Extra = map[string]*pluginv1.Values{}
			}
			u.Extra[k] = &pluginv1.Values{Values: v}
		}
		out.User = u
	}
	return out
}
