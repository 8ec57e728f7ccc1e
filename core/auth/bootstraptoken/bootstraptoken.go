package bootstraptoken

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	secretType   = "bootstrap.kubernetes.io/token"
	secretPrefix = "secrets/kube-system/bootstrap-token-"
	userPrefix   = "system:bootstrap:"
	group        = "system:bootstrappers"
)

// parse splits a token, "abcdef.0123456789abcdef", into its ID and its secret. It is no
// regular expression, as the group below is not: those with counts take up room.
func parse(token string) (id, secret string, ok bool) {
	id, secret, ok = strings.Cut(token, ".")
	return id, secret, ok && len(id) == 6 && len(secret) == 16 && only(id+secret, "")
}

// only reports whether a text has nothing in it but lower-case letters, digits and some more.
func only(text, more string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(more, c)
	})
}

// groupPattern is what extra groups must match; upstream's.
const groupPattern = `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`

func validGroup(g string) bool {
	rest, ok := strings.CutPrefix(g, group+":")
	return ok && len(rest) > 0 && len(rest) <= 256 && only(rest, ":-") && !strings.HasSuffix(rest, ":") && !strings.HasSuffix(rest, "-")
}

// Getter reads stored objects; the store implements it.
type Getter interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
}

// Authenticator recognises bootstrap tokens. It keeps nothing: tokens are used a few times.
type Authenticator struct {
	objects Getter
	now     func() time.Time
	log     *slog.Logger
}

var _ auth.TokenAuthenticator = (*Authenticator)(nil)

// New returns an Authenticator. A nil clock means time.Now, a nil logger slog.Default.
func New(objects Getter, now func() time.Time, log *slog.Logger) *Authenticator {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.Default()
	}
	return &Authenticator{objects: objects, now: now, log: log}
}

// AuthenticateToken implements auth.TokenAuthenticator. A token that is no good for any reason
// is nobody's: the reason is for the log, not for who presents it.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string, _ []string) (auth.TokenUser, bool, error) {
	id, secret, ok := parse(token)
	if !ok {
		return auth.TokenUser{}, false, nil
	}
	o, err := a.objects.Get(ctx, store.Key(secretPrefix+id))
	if errors.Is(err, store.ErrNotFound) {
		return auth.TokenUser{}, false, nil
	}
	if err != nil {
		return auth.TokenUser{}, false, fmt.Errorf("bootstrap token %s: %w", id, err)
	}
	groups, err := a.check(o.Data, id, secret)
	if err != nil {
		a.log.Warn("a bootstrap token is refused", "secret", "kube-system/bootstrap-token-"+id, "reason", err)
		return auth.TokenUser{}, false, nil
	}
	return auth.TokenUser{User: resource.User{Name: userPrefix + id, Groups: groups}}, true, nil
}

// check says why a secret does not make its token good, or which groups it is in.
func (a *Authenticator) check(data []byte, id, secret string) ([]string, error) {
	value := func(key string) string {
		raw, err := base64.StdEncoding.DecodeString(gjson.GetBytes(data, "data."+key).String())
		if err != nil {
			return "" // no such value is good for anything
		}
		return string(raw)
	}
	switch {
	case gjson.GetBytes(data, "metadata.deletionTimestamp").Exists():
		return nil, errors.New("the secret is deleted and awaiting removal")
	case gjson.GetBytes(data, "type").String() != secretType:
		return nil, fmt.Errorf("the secret is not of type %s", secretType)
	case subtle.ConstantTimeCompare([]byte(value("token-secret")), []byte(secret)) != 1:
		return nil, errors.New("token-secret is another")
	case value("token-id") != id:
		return nil, errors.New("token-id is not the one in the secret's name")
	}
	if text := value("expiration"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("expiration: %w", err)
		}
		if !a.now().Before(at) {
			return nil, fmt.Errorf("it expired at %s", text)
		}
	}
	if value("usage-bootstrap-authentication") != "true" {
		return nil, errors.New("usage-bootstrap-authentication is not true")
	}
	groups := []string{group}
	if text := value("auth-extra-groups"); text != "" {
		for g := range strings.SplitSeq(text, ",") {
			if !validGroup(g) {
				return nil, fmt.Errorf("auth-extra-groups: %q does not match %s", g, groupPattern)
			}
			groups = append(groups, g)
		}
	}
	return groups, nil
}
