package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	sdk "github.com/pintle-dev/pintle/sdk/scheduler"
)

var _ sdk.Scheduler = (*Scheduler)(nil)

// Scheduler is the plugin.
type Scheduler struct {
	settings Settings
	// directory finds extensions where it is not env that says how; for tests.
	directory extend.Directory
}

// New returns a scheduler with the default settings.
func New() *Scheduler { return &Scheduler{settings: defaultSettings()} }

// Info says who the plugin is and which permissions it asks for.
func (s *Scheduler) Info() plugin.Info {
	return plugin.Info{
		Name:        "scheduler",
		Version:     "v0.1.0",
		Description: "Chooses nodes for pods and binds them.",
		Permissions: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "nodes", "namespaces"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims", "persistentvolumes"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"patch"}},
			{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"storageclasses"}, Verbs: []string{"list", "watch"}},
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

// Schedule runs until ctx is cancelled. It fails only if the API server can't be reached
// at all with what env says; failures after that are retried.
func (s *Scheduler) Schedule(ctx context.Context, env plugin.Env) error {
	log := env.Log
	if log == nil {
		log = slog.Default()
	}
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
	c, err := newClient(env.Config)
	if err != nil {
		return err
	}
	out := newOutcome(c, log)
	e := newEngine(s.settings, out, log)

	var wg sync.WaitGroup
	defer wg.Wait()
	closePeers, err := s.extend(ctx, &wg, e, env)
	if err != nil {
		return err
	}
	defer closePeers()
	wg.Go(func() { out.run(ctx) })
	e.watchVolumes(ctx, &wg, c)
	// Nodes and namespaces first: pods are placed on what is known.
	nodes := reflect(ctx, &wg, &source[*model.Node]{c, "/api/v1/nodes", model.DecodeNode},
		newSink(e.setNode, e.removeNode, e.replaceNodes))
	namespaces := reflect(ctx, &wg, &source[*model.Namespace]{c, "/api/v1/namespaces", model.DecodeNamespace},
		newSink(e.setNamespace, e.removeNamespace, e.replaceNamespaces))
	pods := reflect(ctx, &wg, &source[*model.Pod]{c, "/api/v1/pods", e.decodePod},
		newSink(e.setPod, e.removePod, e.replacePods))
	for _, synced := range []<-chan struct{}{nodes, namespaces, pods} {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
	}
	log.Info("scheduling", "schedulerNames", s.settings.SchedulerNames)
	e.run(ctx)
	return nil
}

// extend lets other plugins have a say, where there is a way to them.
func (s *Scheduler) extend(ctx context.Context, wg *sync.WaitGroup, e *engine, env plugin.Env) (closePeers func(), _ error) {
	directory, closePeers := s.directory, func() {}
	if directory == nil {
		p, err := peers.Connect(env)
		switch {
		case errors.Is(err, peers.ErrNone) && len(s.settings.Extensions) == 0:
			return closePeers, nil
		case err != nil:
			return nil, fmt.Errorf("extensions: %w", err)
		}
		directory, closePeers = extend.FromPeers(p), func() { _ = p.Close() }
	}
	e.extensions = extend.NewSet(s.settings.extend(), directory, e.log, e.extensionsChanged)
	wg.Go(func() { e.extensions.Run(ctx) })
	return closePeers, nil
}

// reflect keeps a sink supplied until ctx is cancelled. The channel it returns is closed
// when the sink has got all objects once.
func reflect[T runtime.Object](ctx context.Context, wg *sync.WaitGroup, from *source[T], to *sink[T]) <-chan struct{} {
	var example T
	r := cache.NewReflectorWithOptions(from.listWatch(), example, to, cache.ReflectorOptions{
		Name: "scheduler" + from.path, TypeDescription: from.path,
	})
	wg.Go(func() { r.RunWithContext(ctx) })
	return to.synced
}
