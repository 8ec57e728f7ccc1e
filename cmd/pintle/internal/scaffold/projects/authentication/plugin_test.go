package main

import (
	"slices"
	"testing"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The sum is that of "secret".
const settings = `{"tokens":[{"sha256":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b","user":"ann","groups":["crew"]}]}`

// The suite of plugintest holds the plugin to what every host relies on.
func TestAuthenticationContract(t *testing.T) {
	plugintest.RunAuthentication(t, plugintest.AuthenticationCase{
		Case: plugintest.Case{Settings: []byte(settings), BadSettings: map[string]string{
			`{"tokens":[{"sha256":"secret","user":"ann"}]}`: "settings.tokens[0].sha256",
		}},
		New:     func() authentication.Authenticator { return &Plugin{} },
		Good:    map[string]resource.User{"secret": {Name: "ann", Groups: []string{"crew"}}},
		Foreign: []string{"another", "secret "},
	})
}

func TestAuthenticateToken(t *testing.T) {
	p := &Plugin{}
	if err := p.Configure(t.Context(), []byte(settings)); err != nil {
		t.Fatal(err)
	}
	r, ok, err := p.AuthenticateToken(t.Context(), authentication.Token{Secret: "secret", Audiences: []string{"api"}})
	if err != nil || !ok || r.User.Name != "ann" || !slices.Equal(r.User.Groups, []string{"crew"}) || !slices.Equal(r.Audiences, []string{"api"}) {
		t.Errorf("got %+v, %v, %v", r, ok, err)
	}
	for _, other := range []string{"", "Secret", "secret "} {
		if _, ok, err := p.AuthenticateToken(t.Context(), authentication.Token{Secret: other}); ok || err != nil {
			t.Errorf("%q: %v, %v", other, ok, err)
		}
	}
}
