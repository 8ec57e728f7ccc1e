package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/internal/calls"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type nothing = struct{}

// Authenticator connects to the plugin as an authenticator, where it is one. Errors that
// [ErrNoAnswer] is say nothing about the token.
func (c *Client) Authenticator(ctx context.Context) (authentication.Authenticator, *Line, error) {
	if !c.offers(protocol.PointAuthentication) {
		return nil, nil, fmt.Errorf("it offers no point %q", protocol.PointAuthentication)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := pluginv1.NewAuthenticationClient(c.calling(protocol.PointAuthentication)).Tokens(ctx)
	if err != nil {
		cancel()
		return nil, nil, unwire(err)
	}
	line := calls.Open[*pluginv1.TokenQuestion, *pluginv1.TokenAnswer, nothing](calls.Stream[*pluginv1.TokenQuestion, *pluginv1.TokenAnswer]{
		Send: func(questions []*pluginv1.TokenQuestion) error {
			return stream.Send(&pluginv1.TokensRequest{Questions: slices.Clone(questions)})
		},
		Recv: func() ([]*pluginv1.TokenAnswer, func(), error) {
			m, err := stream.Recv()
			return m.GetAnswers(), nil, err
		},
		ID:      (*pluginv1.TokenAnswer).GetId,
		Size:    func(q *pluginv1.TokenQuestion) int { return 128 + len(q.GetToken()) },
		Context: stream.Context(), Cancel: cancel,
	})
	return &remoteAuthenticator{Client: c, calls: line}, &Line{Gone: line.Done(), Close: line.Close}, nil
}

type remoteAuthenticator struct {
	*Client
	calls *calls.Client[*pluginv1.TokenQuestion, *pluginv1.TokenAnswer, nothing]
}

// AuthenticateToken implements authentication.Authenticator.
func (a *remoteAuthenticator) AuthenticateToken(ctx context.Context, t authentication.Token) (authentication.Response, bool, error) {
	res, err := ask(ctx, a.calls, nothing{}, func(id uint64, ms int64) *pluginv1.TokenQuestion {
		return &pluginv1.TokenQuestion{Id: id, TimeoutMs: ms, Token: t.Secret, Audiences: t.Audiences}
	})
	switch {
	case err != nil:
		return authentication.Response{}, false, err
	case res.GetError() != "":
		return authentication.Response{}, false, errors.New(res.GetError())
	case !res.GetAuthenticated():
		return authentication.Response{}, false, nil
	}
	user := resource.UserFromWire(res.GetUser())
	if err := checkUser(user); err != nil {
		return authentication.Response{}, false, err
	}
	return authentication.Response{User: user, Audiences: res.GetAudiences()}, true, nil
}

func checkUser(u resource.User) error {
	if u.Name == "" {
		return noAnswer("it named a user without a name")
	}
	names := append([]string{u.Name, u.UID}, u.Groups...)
	for k, v := range u.Extra {
		names = append(append(names, k), v...)
	}
	if len(names) > authentication.MaxNames {
		return noAnswer("it named a user with %d groups and extra values, more than %d", len(names), authentication.MaxNames)
	}
	for _, n := range names {
		if len(n) > authentication.MaxNameBytes {
			return noAnswer("it named a user with a name, group or extra value of %d bytes, more than %d", len(n), authentication.MaxNameBytes)
		}
	}
	return nil
}

// Authorizer connects to the plugin as an authorizer, where it is one. Errors that
// [ErrNoAnswer] is are no opinion.
func (c *Client) Authorizer(ctx context.Context) (authorization.Authorizer, *Line, error) {
	if !c.offers(protocol.PointAuthorization) {
		return nil, nil, fmt.Errorf("it offers no point %q", protocol.PointAuthorization)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := pluginv1.NewAuthorizationClient(c.calling(protocol.PointAuthorization)).Decisions(ctx)
	if err != nil {
		cancel()
		return nil, nil, unwire(err)
	}
	line := calls.Open[*pluginv1.AccessQuestion, *pluginv1.AccessAnswer, nothing](calls.Stream[*pluginv1.AccessQuestion, *pluginv1.AccessAnswer]{
		Send: func(questions []*pluginv1.AccessQuestion) error {
			return stream.Send(&pluginv1.DecisionsRequest{Questions: slices.Clone(questions)})
		},
		Recv: func() ([]*pluginv1.AccessAnswer, func(), error) {
			m, err := stream.Recv()
			return m.GetAnswers(), nil, err
		},
		ID: (*pluginv1.AccessAnswer).GetId,
		Size: func(q *pluginv1.AccessQuestion) int {
			return 512 + len(q.GetPath()) + len(q.GetLabelSelector()) + len(q.GetFieldSelector())
		},
		Context: stream.Context(), Cancel: cancel,
	})
	return &remoteAuthorizer{Client: c, calls: line}, &Line{Gone: line.Done(), Close: line.Close}, nil
}

type remoteAuthorizer struct {
	*Client
	calls *calls.Client[*pluginv1.AccessQuestion, *pluginv1.AccessAnswer, nothing]
}

// maxReasonBytes bounds what users are shown.
const maxReasonBytes = 4 << 10

// Authorize implements authorization.Authorizer.
func (a *remoteAuthorizer) Authorize(ctx context.Context, at authorization.Attributes) (authorization.Decision, string, error) {
	user := userToWire(at.User)
	res, err := ask(ctx, a.calls, nothing{}, func(id uint64, ms int64) *pluginv1.AccessQuestion {
		return &pluginv1.AccessQuestion{
			Id: id, TimeoutMs: ms, User: user, Verb: at.Verb, Group: at.Group, Version: at.Version,
			Resource: at.Resource, Subresource: at.Subresource, Namespace: at.Namespace, Name: at.Name,
			Path: at.Path, FieldSelector: at.FieldSelector, LabelSelector: at.LabelSelector,
		}
	})
	switch {
	case err != nil:
		return authorization.NoOpinion, "", err
	case res.GetError() != "":
		return authorization.NoOpinion, "", errors.New(res.GetError())
	case len(res.GetReason()) > maxReasonBytes:
		return authorization.NoOpinion, "", noAnswer("it gave a reason of %d bytes, more than %d", len(res.GetReason()), maxReasonBytes)
	}
	switch res.GetDecision() {
	case pluginv1.Decision_DECISION_ALLOW:
		return authorization.Allow, res.GetReason(), nil
	case pluginv1.Decision_DECISION_DENY:
		return authorization.Deny, res.GetReason(), nil
	case pluginv1.Decision_DECISION_NO_OPINION:
		return authorization.NoOpinion, res.GetReason(), nil
	}
	return authorization.NoOpinion, "", noAnswer("it made decision %d, which is none", res.GetDecision())
}
