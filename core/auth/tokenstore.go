package auth

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// TokenStore knows opaque tokens given out by this process: the host registers one for
// each plugin it launches and revokes it when the plugin exits. Nothing is persisted.
type TokenStore struct {
	mu sync.RWMutex
	// byHash is keyed by digest, so that looking a token up takes no longer for one that
	// is nearly right, and a memory dump of the map gives no tokens away.
	byHash map[[sha256.Size]byte]resource.User
}

var _ TokenAuthenticator = (*TokenStore)(nil)

// NewTokenStore returns an empty store.
func NewTokenStore() *TokenStore {
	return &TokenStore{byHash: map[[sha256.Size]byte]resource.User{}}
}

// Register makes token stand for user until it is revoked.
func (s *TokenStore) Register(token string, user resource.User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user.Groups = authenticated(user.Groups)
	s.byHash[sha256.Sum256([]byte(token))] = user
}

// Revoke forgets a token.
func (s *TokenStore) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byHash, sha256.Sum256([]byte(token)))
}

// AuthenticateToken implements TokenAuthenticator. Its tokens are meant for the API server
// only.
func (s *TokenStore) AuthenticateToken(_ context.Context, token string, audiences []string) (TokenUser, bool, error) {
	if len(audiences) > 0 {
		return TokenUser{}, false, nil
	}
	s.mu.RLock()
	user, ok := s.byHash[sha256.Sum256([]byte(token))]
	s.mu.RUnlock()
	return TokenUser{User: user}, ok, nil
}
