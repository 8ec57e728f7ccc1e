// Package controller is the extension point for whatever watches and reconciles: a plugin
// that runs until it is told to stop.
package controller

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Controller runs reconcile loops. The host starts Run once per process, on the leader
// only, and cancels ctx to stop it; Run returns soon after. An error it returns is shown
// in the plugin's status and the plugin is restarted with back-off.
type Controller interface {
	plugin.Plugin
	Run(ctx context.Context, env plugin.Env) error
}
