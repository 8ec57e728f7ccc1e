package plugintest

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// AuthenticationCase is an authenticator to be held to the contract.
type AuthenticationCase struct {
	Case
	New func() authentication.Authenticator
	// Good tokens and whose they are.
	Good map[string]resource.User
	// Bad are tokens of the plugin's sort that are no good: it must refuse them.
	Bad []string
	// Foreign are tokens that are not of its sort: it must leave them to others.
	Foreign []string
	// Audiences that good tokens are meant for, none where the plugin knows none.
	Audiences []string
}

// RunAuthentication holds an authenticator to the contract: it knows its tokens and leaves those
// of others alone, errors do not show tokens, it names no audience that was not asked for and no
// identity of the cluster, and all of it is the same in the host's process and behind gRPC.
func RunAuthentication(t *testing.T, c AuthenticationCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	direct := c.New()
	configure(t, direct, c.Settings)
	places := map[string]authentication.Authenticator{"builtin": direct}
	for place, start := range placements() {
		h := start(t, c.New())
		configure(t, h.Client, c.Settings)
		far, line, err := h.Client.Authenticator(t.Context())
		if err != nil {
			t.Fatalf("authentication: %v", err)
		}
		t.Cleanup(line.Close)
		places[place] = far
	}
	for place, a := range places {
		t.Run(place+"/good tokens", func(t *testing.T) {
			for token, want := range c.Good {
				r, ok, err := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token, Audiences: c.Audiences})
				if err != nil || !ok || !sameUser(r.User, want) {
					t.Errorf("%+v, %v, %v; want %+v", r.User, ok, err, want)
				}
				for _, g := range append([]string{r.User.Name}, r.User.Groups...) {
					if strings.HasPrefix(g, "system:") && g != "system:authenticated" || strings.HasPrefix(g, "pintle:") {
						t.Errorf("it names %q, which hosts do not believe unless their configuration says so", g)
					}
				}
			}
		})
		t.Run(place+"/bad tokens", func(t *testing.T) {
			for _, token := range c.Bad {
				_, ok, err := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token, Audiences: c.Audiences})
				if ok || err == nil {
					t.Errorf("a bad token was not refused: %v, %v", ok, err)
				}
				if err != nil && len(token) > 4 && strings.Contains(err.Error(), token) {
					t.Error("the error shows the token")
				}
			}
		})
		t.Run(place+"/tokens of others", func(t *testing.T) {
			for _, token := range c.Foreign {
				if _, ok, err := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token}); ok || err != nil {
					t.Errorf("it took the token of another for one of its own: %v, %v", ok, err)
				}
			}
			for _, token := range []string{"", "no-token-of-anybody", strings.Repeat("x", authentication.MaxTokenBytes)} {
				if r, ok, _ := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token}); ok {
					t.Errorf("it took what is no token for that of %q", r.User.Name)
				}
			}
		})
		t.Run(place+"/audiences", func(t *testing.T) {
			asked := []string{"an-audience-that-nobody-has"}
			for token := range c.Good {
				r, ok, _ := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token, Audiences: asked})
				if ok && slices.ContainsFunc(r.Audiences, func(s string) bool { return !slices.Contains(asked, s) }) {
					t.Errorf("it says that the token is meant for %q, and was asked about %q", r.Audiences, asked)
				}
			}
		})
		t.Run(place+"/calls may come at the same time", func(t *testing.T) {
			var all sync.WaitGroup
			for range 16 {
				for token, want := range c.Good {
					all.Go(func() {
						r, ok, err := a.AuthenticateToken(t.Context(), authentication.Token{Secret: token, Audiences: c.Audiences})
						if err != nil || !ok || !sameUser(r.User, want) {
							t.Errorf("%+v, %v, %v; want %+v", r.User, ok, err, want)
						}
					})
				}
			}
			all.Wait()
		})
	}
}

func sameUser(a, b resource.User) bool {
	return a.Name == b.Name && a.UID == b.UID && slices.Equal(a.Groups, b.Groups) &&
		(len(a.Extra) == 0 && len(b.Extra) == 0 || reflect.DeepEqual(a.Extra, b.Extra))
}

// AuthorizationCase is an authorizer to be held to the contract.
type AuthorizationCase struct {
	Case
	New func() authorization.Authorizer
	// Decisions that are expected, by what they show.
	Decisions map[string]AccessDecision
}

// AccessDecision is a decision that is expected.
type AccessDecision struct {
	Attributes authorization.Attributes
	Want       authorization.Decision
	// Reason is a part of the reason.
	Reason string
}

// RunAuthorization holds an authorizer to the contract: it decides as expected, has an answer
// to everything, and all of it is the same in the host's process and behind gRPC.
func RunAuthorization(t *testing.T, c AuthorizationCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	direct := c.New()
	configure(t, direct, c.Settings)
	places := map[string]authorization.Authorizer{"builtin": direct}
	for place, start := range placements() {
		h := start(t, c.New())
		configure(t, h.Client, c.Settings)
		far, line, err := h.Client.Authorizer(t.Context())
		if err != nil {
			t.Fatalf("authorization: %v", err)
		}
		t.Cleanup(line.Close)
		places[place] = far
	}
	for place, a := range places {
		for name, d := range c.Decisions {
			t.Run(place+"/"+name, func(t *testing.T) {
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						got, reason, err := a.Authorize(t.Context(), d.Attributes)
						if err != nil || got != d.Want || !strings.Contains(reason, d.Reason) {
							t.Errorf("%s (%q), %v; want %s (%q)", got, reason, err, d.Want, d.Reason)
						}
					})
				}
				all.Wait()
			})
		}
		t.Run(place+"/requests of which little is known", func(t *testing.T) {
			for _, at := range []authorization.Attributes{
				{}, {Verb: "get", Path: "/"}, {User: resource.User{Name: "nobody-in-particular"}, Verb: "get", Resource: "pods"},
			} {
				if got, _, err := a.Authorize(t.Context(), at); err == nil && got == authorization.Allow {
					t.Errorf("it allows somebody whom nobody knows: %+v", at)
				}
			}
		})
	}
}
