package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/plugins"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func sprint(format string, v any) string { return fmt.Sprintf(format, v) }

type base struct{ asked atomic.Int64 }

func (*base) Info() plugin.Info                       { return plugin.Info{Name: "test", Version: "1.0.0"} }
func (*base) ConfigSchema() []byte                    { return nil }
func (*base) Configure(context.Context, []byte) error { return nil }

// users knows tokens.
type users struct {
	base
	answer func(ctx context.Context, t authentication.Token) (authentication.Response, bool, error)
}

func (u *users) AuthenticateToken(ctx context.Context, t authentication.Token) (authentication.Response, bool, error) {
	u.asked.Add(1)
	return u.answer(ctx, t)
}

func named(name string, groups ...string) func(context.Context, authentication.Token) (authentication.Response, bool, error) {
	return func(_ context.Context, t authentication.Token) (authentication.Response, bool, error) {
		return authentication.Response{User: resource.User{Name: name, Groups: groups}, Audiences: t.Audiences}, true, nil
	}
}

func TestPluginsDoNotNameTheClustersOwn(t *testing.T) {
	extra := func(key string) func(context.Context, authentication.Token) (authentication.Response, bool, error) {
		return func(context.Context, authentication.Token) (authentication.Response, bool, error) {
			return authentication.Response{User: resource.User{Name: "jane", Extra: map[string][]string{key: {"v"}}}}, true, nil
		}
	}
	for name, c := range map[string]struct {
		answer   func(context.Context, authentication.Token) (authentication.Response, bool, error)
		allow    []string
		believed bool
	}{
		"somebody":                          {answer: named("jane", "developers", "system:authenticated"), believed: true},
		"an administrator":                  {answer: named("jane", "system:masters")},
		"a node":                            {answer: named("system:node:a", "system:nodes")},
		"a part of this control plane":      {answer: named("pintle:agent")},
		"a service account":                 {answer: named("system:serviceaccount:kube-system:x")},
		"nobody":                            {answer: named("")},
		"extra of the cluster's":            {answer: extra("authentication.kubernetes.io/pod-name")},
		"extra of one's own":                {answer: extra("example.com/role"), believed: true},
		"an administrator where allowed":    {answer: named("jane", "system:masters"), allow: []string{"system:masters"}, believed: true},
		"a service account that is allowed": {answer: named("system:serviceaccount:ci:build"), allow: []string{"system:serviceaccount:ci:*"}, believed: true},
		"one that is not":                   {answer: named("system:serviceaccount:ci2:build"), allow: []string{"system:serviceaccount:ci:*"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{Name: "test", Allow: c.allow})
			a.Attach(&users{answer: c.answer})
			u, ok, err := a.AuthenticateToken(t.Context(), "secret", nil)
			if ok != c.believed || (err == nil) != c.believed {
				t.Errorf("%+v, %v, %v", u, ok, err)
			}
		})
	}
}

func TestTokensAreRememberedAndNeverLogged(t *testing.T) {
	var log strings.Builder
	now := time.Unix(1e9, 0)
	a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{
		Name: "test", TTL: time.Minute, Now: func() time.Time { return now },
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	known := &users{answer: named("jane", "system:masters")}
	a.Attach(known)
	if _, _, err := a.AuthenticateToken(t.Context(), "my-secret-token", nil); err == nil || strings.Contains(err.Error(), "my-secret") {
		t.Errorf("error: %v", err)
	}
	known = &users{answer: named("jane")}
	a.Attach(known)
	for range 3 {
		if _, ok, err := a.AuthenticateToken(t.Context(), "my-secret-token", nil); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
	}
	if n := known.asked.Load(); n != 1 {
		t.Errorf("asked %d times within the TTL", n)
	}
	now = now.Add(2 * time.Minute)
	_, _, _ = a.AuthenticateToken(t.Context(), "my-secret-token", nil)
	if n := known.asked.Load(); n != 2 {
		t.Errorf("asked %d times after the TTL", n)
	}
	if strings.Contains(log.String(), "my-secret") {
		t.Errorf("the log has the token: %s", log.String())
	}
}

func TestTokensPrintWithoutTheirSecret(t *testing.T) {
	token := authentication.Token{Secret: "my-secret", Audiences: []string{"api"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token, "in", struct{ T authentication.Token }{token})
	for _, text := range []string{log.String(), strings.Join([]string{sprint("%v", token), sprint("%+v", token), sprint("%#v", token), sprint("%s", &token)}, " ")} {
		if strings.Contains(text, "my-secret") || !strings.Contains(text, "token") {
			t.Errorf("it prints as %s", text)
		}
	}
}

func TestTheNextIsAskedWhereAPluginIsAwayOrHangs(t *testing.T) {
	a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{Name: "test", Timeout: 20 * time.Millisecond})
	union := auth.TokenUnion{a, auth.ForServer(always{}, nil)}
	ask := func() {
		t.Helper()
		if u, ok, err := union.AuthenticateToken(t.Context(), "token", nil); !ok || err != nil || u.User.Name != "next" {
			t.Errorf("%+v, %v, %v", u, ok, err)
		}
	}
	ask()
	a.Attach(&users{answer: func(ctx context.Context, _ authentication.Token) (authentication.Response, bool, error) {
		<-ctx.Done()
		return authentication.Response{}, false, ctx.Err()
	}})
	ask()
	if _, ok, err := a.AuthenticateToken(t.Context(), "token", nil); ok || err == nil || !strings.Contains(err.Error(), `authentication plugin "test"`) {
		t.Errorf("the plugin alone: %v, %v", ok, err)
	}
}

type always struct{}

func (always) AuthenticateToken(context.Context, string, []string) (auth.TokenUser, bool, error) {
	return auth.TokenUser{User: resource.User{Name: "next"}}, true, nil
}

func TestAudiences(t *testing.T) {
	a := plugins.NewAuthenticator(plugins.AuthenticatorConfig{Name: "test", TTL: -1, Audiences: []string{"api"}})
	a.Attach(&users{answer: func(context.Context, authentication.Token) (authentication.Response, bool, error) {
		return authentication.Response{User: resource.User{Name: "jane"}}, true, nil // knows no audiences
	}})
	if u, ok, err := a.AuthenticateToken(t.Context(), "t", nil); !ok || err != nil || len(u.Audiences) != 1 || u.Audiences[0] != "api" {
		t.Errorf("for the server: %+v, %v, %v", u, ok, err)
	}
	if _, ok, err := a.AuthenticateToken(t.Context(), "t", []string{"vault"}); ok || err != nil {
		t.Errorf("for another: %v, %v", ok, err)
	}
}

// rules decide.
type rules struct {
	base
	decide func(ctx context.Context, a authorization.Attributes) (authorization.Decision, string, error)
}

func (r *rules) Authorize(ctx context.Context, a authorization.Attributes) (authorization.Decision, string, error) {
	r.asked.Add(1)
	return r.decide(ctx, a)
}

func TestDecisions(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, deny := range []bool{false, true} {
		p := plugins.NewAuthorizer(plugins.AuthorizerConfig{Name: "test", Timeout: 50 * time.Millisecond, DenyOnFailure: deny, Now: func() time.Time { return now }})
		ask := func(user, verb string) (bool, string, error) {
			return p.Authorize(t.Context(), auth.Attributes{User: resource.User{Name: user}, Verb: verb, Resource: "pods"})
		}
		if ok, _, err := ask("jane", "away"); ok || err == nil || auth.IsDenied(err) != deny {
			t.Errorf("deny %v: while away: %v, %v", deny, ok, err)
		}
		impl := &rules{decide: func(ctx context.Context, a authorization.Attributes) (authorization.Decision, string, error) {
			switch a.Verb {
			case "get":
				return authorization.Allow, "", nil
			case "delete":
				return authorization.Deny, "never", nil
			case "hang":
				<-ctx.Done()
				return authorization.NoOpinion, "", ctx.Err()
			case "fail":
				return authorization.Allow, "", errors.New("no idea")
			}
			return authorization.NoOpinion, "who knows", nil
		}}
		p.Attach(impl)
		for _, c := range []struct {
			verb    string
			allowed bool
			reason  string
			denied  bool
			failed  bool
		}{
			{"get", true, "", false, false}, {"delete", false, "never", true, false}, {"list", false, "who knows", false, false},
			{"hang", false, "", deny, true}, {"fail", false, "", deny, true},
		} {
			ok, why, err := ask("jane", c.verb)
			if ok != c.allowed || why != c.reason || auth.IsDenied(err) != c.denied || (auth.Failure(err) != nil) != c.failed {
				t.Errorf("deny %v: %s: %v, %q, %v", deny, c.verb, ok, why, err)
			}
		}
		before := impl.asked.Load()
		for range 5 {
			_, _, _ = ask("jane", "get")
			_, _, _ = ask("jane", "delete")
		}
		if n := impl.asked.Load() - before; n != 0 {
			t.Errorf("asked %d times about what it has answered", n)
		}
		now = now.Add(time.Minute) // behind what was refused, before what was allowed
		_, _, _ = ask("jane", "get")
		_, _, _ = ask("jane", "delete")
		if n := impl.asked.Load() - before; n != 1 {
			t.Errorf("asked %d times after the TTL of refusals", n)
		}
		for _, own := range []string{"system:node:a", "system:plugin:x", "system:apiserver", "system:serviceaccount:kube-system:a"} {
			if ok, _, err := ask(own, "delete"); ok || err != nil {
				t.Errorf("deny %v: %s is denied what it needs to heal: %v", deny, own, err)
			}
		}
	}
}
