package host

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Identity returns who a plugin is to the API server.
func Identity(name string) resource.User {
	return resource.User{
		Name:   userName(name),
		Groups: []string{PluginsGroup, "system:authenticated"},
	}
}

// PluginsGroup is the group of all plugins.
const PluginsGroup = "system:plugins"

func userName(plugin string) string { return "system:plugin:" + plugin }

// connectBySocket makes a token for one launch of a plugin.
func (c *Config) connectBySocket(_ context.Context, plugin string) (Connection, func(), error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return Connection{}, nil, fmt.Errorf("token of plugin %s: %w", plugin, err)
	}
	token := base64.RawURLEncoding.EncodeToString(secret)
	c.Tokens.Register(token, Identity(plugin))
	return Connection{Socket: c.SocketPath, Token: token}, func() { c.Tokens.Revoke(token) }, nil
}
