package auth

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/pintle-dev/pintle/core/auth/internal/cache"
)

// TokenCache remembers what an authenticator has said of a token for some time. Requests
// with one token ask once. Errors are not remembered.
type TokenCache struct {
	inner    TokenAuthenticator
	good     time.Duration
	bad      time.Duration
	now      func() time.Time
	verdicts *cache.Cache[[sha256.Size]byte, tokenVerdict]
	asking   singleflight.Group
}

type tokenVerdict struct {
	user TokenUser
	ok   bool
}

var _ TokenAuthenticator = (*TokenCache)(nil)

// NewTokenCache returns a cache before inner, which keeps good tokens and bad ones for the
// times given. Zero keeps none. A nil clock means time.Now.
func NewTokenCache(inner TokenAuthenticator, good, bad time.Duration, now func() time.Time) *TokenCache {
	if now == nil {
		now = time.Now
	}
	return &TokenCache{inner: inner, good: good, bad: bad, now: now, verdicts: cache.New[[sha256.Size]byte, tokenVerdict](2048)}
}

// AuthenticateToken implements TokenAuthenticator.
func (c *TokenCache) AuthenticateToken(ctx context.Context, token string, audiences []string) (TokenUser, bool, error) {
	key := sha256.Sum256([]byte(strings.Join(append([]string{token}, audiences...), "\x00")))
	if v, ok := c.verdicts.Get(key, c.now()); ok {
		return v.user, v.ok, nil
	}
	// Who asks first may give up while others wait.
	result := c.asking.DoChan(string(key[:]), func() (any, error) {
		user, ok, err := c.inner.AuthenticateToken(context.WithoutCancel(ctx), token, audiences)
		if err != nil {
			return tokenVerdict{}, err
		}
		v := tokenVerdict{user, ok}
		if ttl := map[bool]time.Duration{true: c.good, false: c.bad}[ok]; ttl > 0 {
			c.verdicts.Put(key, v, c.now().Add(ttl))
		}
		return v, nil
	})
	select {
	case r := <-result:
		v, _ := r.Val.(tokenVerdict)
		return v.user, v.ok, r.Err
	case <-ctx.Done():
		return TokenUser{}, false, ctx.Err()
	}
}
