package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/internal/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// TokenConfig of token reviews.
type TokenConfig struct {
	// Kubeconfig is a file that names the server.
	Kubeconfig string
	// TTL is how long answers are remembered, 2 min when zero.
	TTL time.Duration
	// Audiences are the names of the API server: what a token is asked to be meant for, and
	// what it is taken to be meant for where the answer has none.
	Audiences []string
}

// token asks a server about each token.
type token struct {
	server    *remote.Server
	audiences []string
}

// NewToken reads the kubeconfig and returns an authenticator that asks its server and
// remembers the answers.
func NewToken(cfg TokenConfig) (auth.TokenAuthenticator, error) {
	server, err := remote.Open(cfg.Kubeconfig, 0)
	if err != nil {
		return nil, fmt.Errorf("token webhook: %w", err)
	}
	if cfg.TTL == 0 {
		cfg.TTL = 2 * time.Minute
	}
	return auth.NewTokenCache(&token{server, cfg.Audiences}, cfg.TTL, cfg.TTL, nil), nil
}

// AuthenticateToken implements auth.TokenAuthenticator.
func (t *token) AuthenticateToken(ctx context.Context, token string, audiences []string) (auth.TokenUser, bool, error) {
	if len(audiences) == 0 {
		audiences = t.audiences
	}
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: authenticationv1.SchemeGroupVersion.String()},
		Spec:     authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}
	var answer authenticationv1.TokenReview
	if err := t.server.PostRetry(ctx, remote.Backoff, &review, &answer, remote.Transient); err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("token webhook: %w", err)
	}
	st := answer.Status
	if !st.Authenticated {
		if st.Error != "" {
			return auth.TokenUser{}, false, errors.New(st.Error)
		}
		return auth.TokenUser{}, false, nil
	}
	meant := st.Audiences
	if len(meant) == 0 {
		meant = t.audiences
	}
	matched := auth.MatchAudiences(audiences, meant)
	if len(matched) == 0 && len(audiences) > 0 {
		return auth.TokenUser{}, false, nil
	}
	user := resource.User{Name: st.User.Username, UID: st.User.UID, Groups: st.User.Groups}
	for k, v := range st.User.Extra {
		if user.Extra == nil {
			user.Extra = map[string][]string{}
		}
		user.Extra[k] = v
	}
	return auth.TokenUser{User: user, Audiences: matched}, true, nil
}
