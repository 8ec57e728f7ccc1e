package plugin

import (
	"context"
	"log/slog"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
)

// Plugin is what all plugins share.
type Plugin interface {
	// Info says who the plugin is. It is called before anything else and must not block.
	Info() Info
	// ConfigSchema returns the JSON schema (structural, as in a CRD) of the settings, or
	// nil where the plugin takes none.
	ConfigSchema() []byte
	// Configure gets the settings as JSON, checked against the schema, before the plugin
	// is started. An error says which field is wrong and is shown to the operator.
	Configure(ctx context.Context, settings []byte) error
}

// Reacher is for plugins that reach the API server, or other plugins, from what they are asked
// on any host: hooks, admission, authentication. Work (Run, Schedule) is only begun on the host
// that leads, and is given the same.
type Reacher interface {
	// Reach is called after each Configure that has succeeded, before the plugin is asked
	// anything else, and must not wait for an answer of the API server. ctx ends when Reach is
	// to have returned.
	Reach(ctx context.Context, env Env) error
}

// Info says who a plugin is and what it asks for.
type Info struct {
	Name        string
	Version     string
	Description string
	// Permissions are the RBAC rules the plugin asks for, cluster-wide.
	Permissions []rbacv1.PolicyRule
}

// Env is what a running plugin is given.
type Env struct {
	// Config reaches the API server with the plugin's own identity. It is an ordinary
	// client-go configuration; the transport is a unix socket.
	Config *rest.Config
	// Log goes to the host, which keeps it (pintle plugin logs).
	Log *slog.Logger
	// Node is the name of the node for plugins that run on each node, else empty.
	Node string
	// Dir is a directory of the plugin's own, also $PINTLE_DATA: it outlives restarts and upgrades,
	// and is removed with the plugin. On each node there is another. What is kept in it is
	// bounded (limits.disk); what need not last belongs into os.TempDir, which is memory.
	Dir string
	// Peers is where other plugins are reached, for package peers. It is empty for a plugin
	// that may call none.
	Peers PeersAddress
}

// PeersAddress is the host's end of calls from plugin to plugin.
type PeersAddress struct {
	// Socket is the path of a unix socket.
	Socket string
	// Token says who calls.
	Token string
}
