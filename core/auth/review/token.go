package review

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// tokenReview answers who a bearer token stands for.
type tokenReview struct{ *Config }

func (h tokenReview) CreateVirtual(ctx context.Context, r *resource.Request) (map[string]any, error) {
	var review authenticationv1.TokenReview
	if err := decode(r, &review); err != nil {
		return nil, err
	}
	if review.Spec.Token == "" {
		return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	// Tokens that know no audiences are good for the API server's own only.
	asked := review.Spec.Audiences
	if len(asked) == 0 {
		asked = h.Audiences
	}
	user, ok, err := h.Tokens.AuthenticateToken(ctx, review.Spec.Token, asked)
	if !ok && err == nil && len(review.Spec.Audiences) == 0 {
		if user, ok, err = h.Tokens.AuthenticateToken(ctx, review.Spec.Token, nil); ok {
			user.Audiences = h.Audiences
		}
	}
	var status authenticationv1.TokenReviewStatus
	if !ok && err == nil {
		err = auth.ErrInvalidToken
	}
	if err != nil {
		status.Error = err.Error()
	} else {
		status.Authenticated = true
		status.User = userInfo(user.User)
		status.Audiences = user.Audiences
	}
	return answer(r, &status)
}

// selfSubject answers who asks.
type selfSubject struct{ *Config }

func (h selfSubject) CreateVirtual(_ context.Context, r *resource.Request) (map[string]any, error) {
	return answer(r, &authenticationv1.SelfSubjectReviewStatus{UserInfo: userInfo(r.User)})
}

func userInfo(u resource.User) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if out.Extra == nil {
			out.Extra = map[string]authenticationv1.ExtraValue{}
		}
		out.Extra[k] = v
	}
	return out
}

func isNode(u resource.User) bool {
	_, ok := node.Name(u.Name, u.Groups)
	return ok
}
