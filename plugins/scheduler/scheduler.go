package scheduler

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	sdk "github.com/pintle-dev/pintle/sdk/scheduler"
)

var _ sdk.Scheduler = (*Scheduler)(nil)

// Scheduler is the plugin.
type Scheduler struct {
	settings Settings
}

// New returns a scheduler with the default settings.
func New() *Scheduler { return &Scheduler{settings: defaultSettings()} }

// Info says who the plugin is and which permissions it asks for.
func (s *Scheduler) Info() plugin.Info {
	return plugin.Info{
		Name:        "scheduler",
		Version:     "0.1.0",
		Description: "Chooses nodes for pods and binds them.",
		Permissions: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "nodes", "namespaces"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"pods/binding"}, Verbs: []string{"create"}},
			{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		},
	}
}

// ConfigSchema returns the structural schema of Settings.
func (s *Scheduler) ConfigSchema() []byte { return []byte(settingsSchema) }

// Configure takes the settings; unknown fields are refused.
func (s *Scheduler) Configure(_ context.Context, settings []byte) error {
	parsed, err := parseSettings(settings)
	if err != nil {
		return err
	}
	s.settings = parsed
	return nil
}

// SchedulerNames returns the values of spec.schedulerName that are served.
func (s *Scheduler) SchedulerNames() []string { return s.settings.SchedulerNames }

// Schedule runs until ctx is cancelled.
func (s *Scheduler) Schedule(ctx context.Context, _ plugin.Env) error {
	<-ctx.Done()
	return nil
}
