package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/network"
)

// maxSocketDir is the length of a directory in which go-plugin's socket names still fit
// into a socket address.
const maxSocketDir = 60

// Host runs the plugins of one process: the server's, or a node's.
type Host struct {
	config    Config
	launcher  *launcher
	sockets   string
	lead      *leadership
	publisher *publisher
	wishes    *wishes
	relay     *relay
	keeper    *confine.Keeper
	events    *events
	metrics   *metrics // nil where nobody wants them
	// requirements of plugins by each other.
	requirements *requirements

	ctx context.Context //nolint:containedctx // Run's, for plugins that are added later
	all sync.WaitGroup  // of what runs for plugins

	mu      sync.Mutex
	plugins map[string]*supervisor
	running bool
	stopped bool
}

// New prepares a host. Plugins are added by Add and started by Run.
func New(config Config) (*Host, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	h := &Host{
		config:  config,
		lead:    newLeadership(!config.Standby),
		plugins: map[string]*supervisor{}, requirements: newRequirements(),
	}
	for _, dir := range []string{config.Dir, filepath.Join(config.Dir, "plugins"), filepath.Join(config.Dir, "logs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("plugin host: %w", err)
		}
	}
	if err := h.makeSocketDir(); err != nil {
		return nil, err
	}
	h.relay = newRelay(h.sockets, config.Logger)
	var err error
	if h.keeper, err = confine.New(confine.Config{Dir: config.Dir, Hide: config.Hide, Users: config.Users}); err != nil {
		return nil, fmt.Errorf("plugin host: %w", err)
	}
	h.events = &events{host: h}
	if config.Metrics != nil {
		h.metrics = newMetrics(h)
		if err := config.Metrics.Register(h.metrics); err != nil {
			return nil, fmt.Errorf("plugin host: metrics: %w", err)
		}
	}
	if config.Client != nil {
		client, err := dynamic.NewForConfig(config.Client)
		if err != nil {
			return nil, fmt.Errorf("plugin host: client: %w", err)
		}
		h.publisher, h.wishes = newPublisher(h, client), newWishes(h, client)
	}
	return h, nil
}

// makeSocketDir makes an empty private directory for plugins' sockets: below Dir, or
// where that path is too long for a socket address below the system's directory for
// temporary files, under a name that the next host with the same Dir cleans up.
func (h *Host) makeSocketDir() error {
	h.sockets = filepath.Join(h.config.Dir, "run")
	if len(h.sockets) > maxSocketDir {
		sum := sha256.Sum256([]byte(h.config.Dir))
		h.sockets = filepath.Join(os.TempDir(), "pintle-"+hex.EncodeToString(sum[:6]))
	}
	if err := os.RemoveAll(h.sockets); err != nil {
		return fmt.Errorf("plugin host: sockets of an earlier run: %w", err)
	}
	if err := os.Mkdir(h.sockets, 0o700); err != nil {
		return fmt.Errorf("plugin host: directory for sockets: %w", err)
	}
	return nil
}

func (h *Host) removeSockets() error {
	if err := errors.Join(os.RemoveAll(h.sockets), h.keeper.Close()); err != nil {
		return fmt.Errorf("plugin host: clean up: %w", err)
	}
	return nil
}

func (h *Host) plugin(name string) (*supervisor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.plugins[name]
	if !ok {
		return nil, fmt.Errorf("plugin %q is not in the catalogue of this host", name)
	}
	return s, nil
}

// List returns the status of all plugins, by name.
func (h *Host) List() []Status {
	h.mu.Lock()
	plugins := h.sorted()
	h.mu.Unlock()
	out := make([]Status, 0, len(plugins))
	for _, s := range plugins {
		out = append(out, s.snapshot())
	}
	return out
}

// Status returns the status of one plugin.
func (h *Host) Status(name string) (Status, error) {
	s, err := h.plugin(name)
	if err != nil {
		return Status{}, err
	}
	return s.snapshot(), nil
}

// Logs returns the last n lines that a plugin wrote, at most 200.
func (h *Host) Logs(name string, n int) ([]string, error) {
	s, err := h.plugin(name)
	if err != nil {
		return nil, err
	}
	lines, _ := s.out.tail(n)
	return lines, nil
}

// Restart runs another instance of a plugin in place of the one that runs, as its Replacement
// says, and starts one that was refused or waits at once.
func (h *Host) Restart(name string) error {
	s, err := h.plugin(name)
	if err != nil {
		return err
	}
	if s.plan.current().Disabled {
		return fmt.Errorf("plugin %q is disabled by its configuration", name)
	}
	s.restart()
	return nil
}

// SetLeading says whether this host leads, which decides whether controllers and
// schedulers work. A host that no longer leads stops those that run.
func (h *Host) SetLeading(leading bool) {
	h.lead.set(leading)
	if leading && h.publisher != nil {
		for _, s := range h.List() { // Another host has published until now.
			h.publisher.notify(s.Name)
		}
		h.wishes.lookAgain()
	}
}

// Network returns the named plugin as a network. The value stays valid when the plugin
// restarts: calls wait for it to be back, for as long as their context lets them, and it
// is set up again for the node it was last set up for.
func (h *Host) Network(name string) (network.Network, error) {
	s, err := h.plugin(name)
	if err != nil {
		return nil, err
	}
	return s.network, nil
}

// WaitHealthy returns when the named plugins (all that are enabled where none is named)
// are healthy or in standby. Its error says which are not, and why.
func (h *Host) WaitHealthy(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		for _, s := range h.List() {
			if s.Health != HealthDisabled {
				names = append(names, s.Name)
			}
		}
	}
	for _, name := range names {
		s, err := h.plugin(name)
		if err != nil {
			return err
		}
		if err := s.waitHealthy(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leadership is a flag that can be waited for.
type leadership struct {
	mu      sync.Mutex
	leading bool
	changed chan struct{}
}

func newLeadership(leading bool) *leadership {
	return &leadership{leading: leading, changed: make(chan struct{})}
}

func (l *leadership) set(leading bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leading != leading {
		l.leading = leading
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *leadership) get() (leading bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading, l.changed
}

// now is the host's clock.
func now() time.Time { return time.Now() }
