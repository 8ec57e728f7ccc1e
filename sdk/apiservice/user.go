package apiservice

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// The headers by which a front proxy tells who asks.
const (
	headerUser   = "X-Remote-User"
	headerUID    = "X-Remote-Uid"
	headerGroup  = "X-Remote-Group"
	headerExtra  = "X-Remote-Extra-"
	headerRemote = "X-Remote-"
)

type userKey struct{}

// UserFrom returns who asks, from the context of a request.
func UserFrom(ctx context.Context) (authenticationv1.UserInfo, bool) {
	u, ok := ctx.Value(userKey{}).(authenticationv1.UserInfo)
	return u, ok
}

// WithUser returns a context in which user asks, for tests of handlers.
func WithUser(ctx context.Context, user authenticationv1.UserInfo) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

// identified puts the user into the context of requests. Only the host can be at the other end,
// so the headers are believed; they go no further.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := authenticationv1.UserInfo{
			Username: r.Header.Get(headerUser), UID: r.Header.Get(headerUID), Groups: r.Header.Values(headerGroup),
		}
		for name, values := range r.Header {
			if !strings.HasPrefix(name, headerRemote) {
				continue
			}
			if key, ok := strings.CutPrefix(name, headerExtra); ok {
				key = strings.ToLower(key)
				if plain, err := url.PathUnescape(key); err == nil {
					key = plain
				}
				if user.Extra == nil {
					user.Extra = map[string]authenticationv1.ExtraValue{}
				}
				user.Extra[key] = append(user.Extra[key], values...)
			}
			delete(r.Header, name)
		}
		next.ServeHTTP(w, r.WithContext(WithUser(r.Context(), user)))
	})
}
