package host_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/plugins"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func TestAccessPluginsInAProcessOfTheirOwn(t *testing.T) {
	tokens := plugins.NewAuthenticator(plugins.AuthenticatorConfig{Name: "access", Audiences: []string{"api"}})
	decisions := plugins.NewAuthorizer(plugins.AuthorizerConfig{Name: "access"})
	r := start(t, func(c *host.Config) {
		c.Authenticators = map[string]host.Seat[authentication.Authenticator]{"access": tokens}
		c.Authorizers = map[string]host.Seat[authorization.Authorizer]{"access": decisions}
	}, spec(t, "access", "access"), spec(t, "access", "unasked"))
	r.wait(t, "access", healthy)
	r.wait(t, "unasked", healthy)
	if lines, _ := r.Logs("unasked", 50); !strings.Contains(strings.Join(lines, "\n"), "it offers authentication and is not asked") {
		t.Errorf("log: %q", lines)
	}
	u, ok, err := tokens.AuthenticateToken(r.ctx, "user:jane", nil)
	if err != nil || !ok || u.User.Name != "jane" || u.User.Extra["k"][0] != "v" || u.Audiences[0] != "api" {
		t.Errorf("%+v, %v, %v", u, ok, err)
	}
	if _, ok, err := tokens.AuthenticateToken(r.ctx, "other:jane", nil); ok || err != nil {
		t.Errorf("another sort of token: %v, %v", ok, err)
	}
	if _, ok, err := tokens.AuthenticateToken(r.ctx, "bad:jane", nil); ok || err == nil || !strings.Contains(err.Error(), "it has expired") {
		t.Errorf("a bad token: %v, %v", ok, err)
	}
	if _, ok, err := tokens.AuthenticateToken(r.ctx, "group:system:masters", nil); ok || err == nil {
		t.Errorf("a plugin made an administrator: %v, %v", ok, err)
	}
	ask := func(name string) (bool, string, error) {
		return decisions.Authorize(r.ctx, auth.Attributes{User: resource.User{Name: "jane"}, Verb: "get", Resource: "pods", Name: name})
	}
	if ok, _, err := ask("jane"); !ok || err != nil {
		t.Errorf("own: %v, %v", ok, err)
	}
	if ok, why, err := ask("forbidden"); ok || !auth.IsDenied(err) || why != "nobody may" {
		t.Errorf("forbidden: %v, %q, %v", ok, why, err)
	}
	if ok, why, err := ask("john"); ok || err != nil || why != "not john" {
		t.Errorf("no opinion: %v, %q, %v", ok, why, err)
	}
	if ok, _, err := ask("unclear"); ok || err == nil || auth.IsDenied(err) || !strings.Contains(err.Error(), "too dark to see") {
		t.Errorf("unclear: %v, %v", ok, err)
	}
	if ok, _, err := ask("die"); ok || err == nil {
		t.Errorf("death: %v, %v", ok, err)
	}
	r.wait(t, "access", healthyAgain(1))
	if _, ok, err := tokens.AuthenticateToken(r.ctx, "user:john", nil); !ok || err != nil {
		t.Errorf("after the restart: %v, %v", ok, err)
	}
}
