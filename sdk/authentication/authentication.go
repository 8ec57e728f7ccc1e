// Package authentication is the extension point for authentication: a plugin knows whose bearer
// token a request carries. It sees tokens and nothing else of requests, and only those that
// nobody in the server knows.
//
// A plugin says who somebody is, and a control plane has identities that are not for others to
// give: whoever is in system:masters may do anything without being asked for, and the users and
// groups whose names begin with "system:" or "pintle:" are the cluster's own parts. A plugin
// that could name them would be an administrator whatever its permissions are. So a host takes
// such an answer for an error, unless the operator's configuration allows the name.
package authentication

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Limits that hosts keep to and hold plugins to.
const (
	// MaxTokenBytes is the length of the longest token that a plugin is asked about.
	MaxTokenBytes = 64 << 10
	// MaxNameBytes is the length of the longest name, UID, group, key or value of a user.
	MaxNameBytes = 1 << 10
	// MaxNames is how many groups, and how many values of extra, a user has at most.
	MaxNames = 1000
)

// Authenticator is a plugin that recognises one sort of bearer tokens.
type Authenticator interface {
	plugin.Plugin
	// AuthenticateToken returns false where the token is not of its sort, so that others are
	// asked, and an error where it is and is no good. It may be called at the same time, and
	// its answers are remembered by the host for as long as the operator has set. Errors are
	// shown in logs and must not hold the token.
	AuthenticateToken(ctx context.Context, token Token) (Response, bool, error)
}

// Token is what a plugin is asked about. It prints without its secret.
type Token struct {
	// Secret is the token as the client sent it.
	Secret string
	// Audiences are what the token must be meant for, one of them at least; none given means
	// the API server itself.
	Audiences []string
}

// Response is who a token stands for.
type Response struct {
	User resource.User
	// Audiences is the part of those asked for that the token is meant for.
	Audiences []string
}

var (
	_ fmt.Formatter  = Token{}
	_ slog.LogValuer = Token{}
)

// Format implements fmt.Formatter: no verb shows the secret.
func (t Token) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, t.text()) }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.text()) }

// MarshalJSON makes encoders that go by fields show no secret either.
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"a token"`), nil }

func (t Token) text() string {
	return fmt.Sprintf("a token of %d bytes for audiences %q", len(t.Secret), t.Audiences)
}
