package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	tokenPrefix = "pintle-join"
	// JoiningGroup is whom a join token stands for: it may ask to join, and nothing else.
	JoiningGroup = "pintle:joining-servers"

	// DefaultTokenLife of join tokens.
	DefaultTokenLife = time.Hour
	// MaxTokenLife is the longest that one may be good for.
	MaxTokenLife = 24 * time.Hour
)

// Token is what lets servers join until it expires, as many as come: "pintle-join", a public
// part, a secret and the hash of the cluster's authority, by which the joining server knows
// that it talks with the cluster that the token is for.
type Token struct {
	ID, Secret, CAHash string
}

// String is how operators carry it.
func (t Token) String() string {
	return strings.Join([]string{tokenPrefix, t.ID, t.Secret, t.CAHash}, ".")
}

// bearer is the part that is sent.
func (t Token) bearer() string { return strings.Join([]string{tokenPrefix, t.ID, t.Secret}, ".") }

var errToken = errors.New("this is no join token: `pintle server token` on a server of the cluster prints one")

// ParseToken reads what String has written.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix || parts[1] == "" || parts[2] == "" || len(parts[3]) != 2*sha256.Size {
		return Token{}, errToken
	}
	return Token{ID: parts[1], Secret: parts[2], CAHash: parts[3]}, nil
}

// CAHash is the hash of an authority's public key.
func CAHash(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// storedToken is what the store has of a token: enough to know it, not to use it.
type storedToken struct {
	// Hash of the secret, which has as much randomness as the hash has bits.
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

// bucket of everything that this package keeps in the store. No API serves it.
const bucket = "cluster.pintle.dev"

func tokenKey(id string) store.Key { return store.Key(bucket + "/tokens/" + id) }

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Objects keeps what this package remembers; *store.Store implements it.
type Objects interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Write(ctx context.Context, w store.Write) (store.Object, error)
	// Barrier makes Get and List as new as a write that was acknowledged before.
	Barrier(ctx context.Context) error
}

// MakeToken makes a token that expires after life, and keeps what is needed to know it.
func MakeToken(ctx context.Context, objects Objects, ca *x509.Certificate, life time.Duration) (Token, time.Time, error) {
	if life <= 0 || life > MaxTokenLife {
		return Token{}, time.Time{}, fmt.Errorf("a join token lives between a second and %s, not %s", MaxTokenLife, life)
	}
	t := Token{ID: strings.ToLower(rand.Text()[:10]), Secret: rand.Text() + rand.Text(), CAHash: CAHash(ca)}
	expires := time.Now().Add(life).UTC().Truncate(time.Second)
	data, err := json.Marshal(storedToken{Hash: hashSecret(t.Secret), Expires: expires})
	if err != nil {
		return Token{}, time.Time{}, err
	}
	if _, err := objects.Write(ctx, store.Write{Key: tokenKey(t.ID), Data: data, RevisionAt: -1}); err != nil {
		return Token{}, time.Time{}, fmt.Errorf("keeping the join token: %w", err)
	}
	return t, expires, nil
}

// TokenAuthenticator knows join tokens. It implements auth.TokenAuthenticator.
type TokenAuthenticator struct {
	objects Objects
	now     func() time.Time
}

// NewTokenAuthenticator returns one for the tokens in objects.
func NewTokenAuthenticator(objects Objects) *TokenAuthenticator {
	return &TokenAuthenticator{objects: objects, now: time.Now}
}

var (
	errUnknownToken = errors.New("the join token is not known here: it is another cluster's, or it has expired and was removed; `pintle server token` makes a new one")
	errExpiredToken = errors.New("the join token has expired; `pintle server token` makes a new one")
)

// AuthenticateToken implements auth.TokenAuthenticator.
func (a *TokenAuthenticator) AuthenticateToken(ctx context.Context, token string, _ []string) (auth.TokenUser, bool, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] != tokenPrefix {
		return auth.TokenUser{}, false, nil
	}
	if err := a.objects.Barrier(ctx); err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("join token: %w", err)
	}
	o, err := a.objects.Get(ctx, tokenKey(parts[1]))
	if errors.Is(err, store.ErrNotFound) {
		return auth.TokenUser{}, false, errUnknownToken
	}
	if err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("join token: %w", err)
	}
	var kept storedToken
	if err := json.Unmarshal(o.Data, &kept); err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("join token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(hashSecret(parts[2])), []byte(kept.Hash)) != 1 {
		return auth.TokenUser{}, false, errUnknownToken
	}
	if !a.now().Before(kept.Expires) {
		return auth.TokenUser{}, false, errExpiredToken
	}
	return auth.TokenUser{User: resource.User{Name: "pintle:join:" + parts[1], Groups: []string{JoiningGroup}}}, true, nil
}

// forgetTokens removes those that have expired.
func forgetTokens(ctx context.Context, objects Objects, now time.Time) error {
	kept, err := objects.List(ctx, bucket+"/tokens/", store.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range kept.Objects {
		var t storedToken
		if json.Unmarshal(o.Data, &t) == nil && now.Before(t.Expires) {
			continue
		}
		_, err := objects.Write(ctx, store.Write{Key: o.Key, Delete: true, Expect: store.Expectation(o.Revision)})
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
