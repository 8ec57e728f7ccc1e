package controllerruntime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// Project is what a project's own main would give to a manager.
type Project struct {
	// Info says who the plugin is. Its permissions are what the project's reconcilers may
	// do, as the role that controller-gen writes says.
	Info plugin.Info
	// Options of the manager. Leader election and the webhook server are replaced; servers
	// for metrics, health and profiles are off where they have no address.
	Options ctrl.Options
	// Setup adds the reconcilers and webhooks to the manager. It is called before the API
	// server can be reached, so it must not wait for an answer of it; adding indexes to the
	// manager's field indexer is possible.
	Setup func(ctrl.Manager) error

	// CRDs are files with the CustomResourceDefinitions of the project's types, as
	// controller-gen writes them; the plugin offers them. nil where it has none of its own.
	CRDs fs.FS

	// Webhooks are the configurations of the webhooks that Setup registers, as controller-gen
	// writes them (config/webhook/manifests.yaml): what each is about, by its path. They are
	// never sent to the API server. nil where there are none.
	Webhooks []byte

	// Schema of the settings, as plugin.Plugin's ConfigSchema has it; nil where there are none.
	Schema []byte
	// Configure gets the settings, before Setup is called.
	Configure func(ctx context.Context, settings []byte) error
}

// Plugin is a project as a plugin.
type Plugin struct {
	project Project

	mu  sync.Mutex
	now *managed // what was configured last
}

// managed is a manager that has been set up, and its way to the API server.
type managed struct {
	manager ctrl.Manager
	hooks   *webhooks
	late    *lateConfig
	// fresh ends soon after the manager was made; until then a Run may be on its way.
	fresh <-chan struct{}
	cache *indexLater
	end   context.CancelFunc // of the cache, where it was begun before the manager
	// started is closed when the manager's caches can be read.
	started chan struct{}
	once    sync.Once
}

// reach lets the manager's clients and cache be used from now on, until ctx ends.
func (m *managed) reach(ctx context.Context, env plugin.Env) {
	m.late.set(env.Config)
	if m.cache == nil {
		return // the project makes none
	}
	ctx, m.end = context.WithCancel(ctx)
	m.cache.begin(ctx, patience)
	go func() {
		if m.cache.WaitForCacheSync(ctx) {
			m.readable()
		}
	}()
}

func (m *managed) readable() { m.once.Do(func() { close(m.started) }) }

// ready waits until webhooks can read what they may need; on a host that does not lead and does
// not tell the way to the API server they are asked without.
func (m *managed) ready(ctx context.Context) error {
	select {
	case <-m.started:
		return nil
	default:
	}
	select {
	case <-m.late.known:
	case <-m.fresh:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to be run: %w", ctx.Err())
	}
	select {
	case <-m.started:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the manager's caches: %w", ctx.Err())
	}
}

var (
	_ controller.Controller = (*Plugin)(nil)
	_ resource.Bundle       = (*Plugin)(nil)
	_ plugin.Reacher        = (*Plugin)(nil)
)

// New returns a project as a plugin.
func New(p Project) *Plugin { return &Plugin{project: p} }

// Serve makes a plugin process of a project and does not return while the host needs it.
func Serve(p Project) {
	impl := New(p)
	serve.Serve(impl, impl.Points()...)
}

// Points are those that the plugin offers.
func (p *Plugin) Points() []plugin.Point {
	out := []plugin.Point{controller.Point(p)}
	if p.project.CRDs != nil {
		out = append(out, resource.Point(p))
	}
	if len(p.project.Webhooks) > 0 {
		out = append(out, admission.Point(admitter{p}))
	}
	return out
}

// Definitions implements resource.Bundle.
func (p *Plugin) Definitions() ([]*resource.Definition, error) { return definitions(p.project.CRDs) }

// Hooks implements resource.Bundle: webhooks are asked as admission.
func (*Plugin) Hooks(schema.GroupResource) any { return nil }

// Info implements plugin.Plugin.
func (p *Plugin) Info() plugin.Info { return p.project.Info }

// ConfigSchema implements plugin.Plugin.
func (p *Plugin) ConfigSchema() []byte { return p.project.Schema }

// Configure implements plugin.Plugin. It makes the manager and sets it up.
func (p *Plugin) Configure(ctx context.Context, settings []byte) error {
	if p.project.Configure != nil {
		if err := p.project.Configure(ctx, settings); err != nil {
			return err //nolint:wrapcheck // the project's own words
		}
	}
	m, err := p.manage()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil && p.now.end != nil {
		p.now.end()
	}
	p.now = m
	return nil
}

// Reach implements plugin.Reacher: webhooks read by the manager on every host.
func (p *Plugin) Reach(_ context.Context, env plugin.Env) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return errNotConfigured
	}
	p.now.reach(context.Background(), env)
	return nil
}

var errNotConfigured = errors.New("the plugin has not been configured")

// manage makes a manager and sets it up.
func (p *Plugin) manage() (*managed, error) {
	if p.project.Setup == nil {
		return nil, errors.New("controllerruntime: Project.Setup is needed")
	}
	fresh, over := context.WithTimeout(context.Background(), patience)
	context.AfterFunc(fresh, over)
	m := &managed{hooks: newWebhooks(), late: newLateConfig(), fresh: fresh.Done(), started: make(chan struct{})}
	options := p.project.Options
	if options.Logger.IsZero() {
		options.Logger = logr.FromSlogHandler(slog.Default().Handler())
	}
	setLogger(options.Logger)
	options.LeaderElection, options.LeaderElectionResourceLockInterface = false, nil
	options.WebhookServer = m.hooks
	options.NewCache = lateCache(options.NewCache, func(c *indexLater) { m.cache = c })
	if options.Metrics.BindAddress == "" {
		options.Metrics.BindAddress = "0"
	}
	if options.Controller.SkipNameValidation == nil {
		// A plugin that is started again in a test's process has the same names again.
		skip := true
		options.Controller.SkipNameValidation = &skip
	}
	var err error
	if m.manager, err = ctrl.NewManager(m.late.config(), options); err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	if err := m.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		m.readable()
		<-ctx.Done()
		return nil
	})); err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	if err := p.project.Setup(m.manager); err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	if err := m.hooks.bind(p.project.Webhooks); err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	return m, nil
}

// Run implements controller.Controller.
func (p *Plugin) Run(ctx context.Context, env plugin.Env) error {
	m, err := p.managed()
	if err != nil {
		return err
	}
	m.late.set(env.Config)
	return m.manager.Start(ctx) //nolint:wrapcheck // the manager says who failed
}

func (p *Plugin) managed() (*managed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return nil, errNotConfigured
	}
	return p.now, nil
}

// setLogger makes controller-runtime's own logs go where the manager's go. Only the first call
// in a process has an effect, and a project's main may have made that.
func setLogger(l logr.Logger) { ctrl.SetLogger(l) }
