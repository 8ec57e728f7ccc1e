// Package scheduler is the extension point for schedulers: a whole one, that watches
// pods without a node and binds them.
package scheduler

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Scheduler is a whole scheduler. It serves the pods whose spec.schedulerName is among
// SchedulerNames.
type Scheduler interface {
	plugin.Plugin
	SchedulerNames() []string
	// Schedule runs until ctx is cancelled, as controller.Controller's Run does.
	Schedule(ctx context.Context, env plugin.Env) error
}
