package auth

import (
	"context"
	"slices"
)

// MatchAudiences returns the part of want that is in have.
func MatchAudiences(want, have []string) []string {
	var out []string
	for _, w := range want {
		if slices.Contains(have, w) {
			out = append(out, w)
		}
	}
	return out
}

// ForServer makes an authenticator of tokens that know no audiences one of tokens that are
// meant for the API server, which is known by the given names.
func ForServer(t TokenAuthenticator, audiences []string) TokenAuthenticator {
	return forServer{t, audiences}
}

type forServer struct {
	TokenAuthenticator
	audiences []string
}

// AuthenticateToken implements TokenAuthenticator.
func (f forServer) AuthenticateToken(ctx context.Context, token string, audiences []string) (TokenUser, bool, error) {
	var matched []string
	if len(audiences) > 0 {
		if matched = MatchAudiences(audiences, f.audiences); len(matched) == 0 {
			return TokenUser{}, false, nil
		}
	}
	user, ok, err := f.TokenAuthenticator.AuthenticateToken(ctx, token, nil)
	if !ok || err != nil {
		return TokenUser{}, false, err
	}
	user.Audiences = matched
	return user, true, nil
}
