package config_test

import (
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
)

func TestAccessPlugins(t *testing.T) {
	authn := func(p ...config.AuthenticationPlugin) func(*config.Config) {
		return func(c *config.Config) { c.API.AuthenticationPlugins = p }
	}
	authz := func(p ...config.AuthorizationPlugin) func(*config.Config) {
		return func(c *config.Config) { c.API.AuthorizationPlugins = p }
	}
	for _, c := range []struct {
		problem string
		change  func(*config.Config)
	}{
		{"", authn(config.AuthenticationPlugin{Name: "a", Allow: []string{"system:serviceaccount:ci:*"}}, config.AuthenticationPlugin{Name: "b"})},
		{"", authz(config.AuthorizationPlugin{Name: "a", Position: "BeforeRBAC", FailurePolicy: "Deny"})},
		{"api.authenticationPlugins[0].name: is required", authn(config.AuthenticationPlugin{})},
		{"api.authenticationPlugins[1].name: \"a\" is named twice", authn(config.AuthenticationPlugin{Name: "a"}, config.AuthenticationPlugin{Name: "a"})},
		{"api.authenticationPlugins[0].allow[0]: \"*\" would allow everything", authn(config.AuthenticationPlugin{Name: "a", Allow: []string{"*"}})},
		{"api.authorizationPlugins[0].position: \"First\" is neither", authz(config.AuthorizationPlugin{Name: "a", Position: "First"})},
		{"api.authorizationPlugins[0].failurePolicy: \"Allow\" is neither", authz(config.AuthorizationPlugin{Name: "a", FailurePolicy: "Allow"})},
		{"api.authorizationPlugins[0].timeout: is negative", authz(config.AuthorizationPlugin{Name: "a", Timeout: -1})},
	} {
		cfg := config.Default()
		c.change(&cfg)
		err := cfg.Validate()
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("want %q, got %v", c.problem, err)
		}
	}
}
