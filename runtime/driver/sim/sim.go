package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Options say how hollow containers behave. The zero value runs everything for ever.
type Options struct {
	// Pull is asked about every image; nil has them all.
	Pull func(ref string) error
	// Started is told of each container that was started, and may End it.
	Started func(d *Driver, c driver.Container, cfg driver.ContainerConfig)
	// Exec answers commands; nil answers 0.
	Exec func(id string, cmd []string) (int, error)
	// Ignore makes containers ignore the stop signal, so that they end at the end of
	// their grace period.
	Ignore func(cfg driver.ContainerConfig) bool
	// Create may fail a creation.
	Create func(cfg driver.ContainerConfig) error
	// NoNetwork makes sandboxes that need no network plugin: pods have the node's address.
	NoNetwork bool
}

// Driver is a driver.Driver.
type Driver struct {
	opts Options

	mu         sync.Mutex
	n          int
	sandboxes  map[string]*driver.Sandbox
	containers map[string]*container
	images     map[string]driver.Image
	subs       map[chan driver.Event]struct{}
}

type container struct {
	driver.Container
	cfg  driver.ContainerConfig
	done chan struct{}
}

var (
	_ driver.Driver      = (*Driver)(nil)
	_ driver.StatsReader = (*Driver)(nil)
)

// New makes a Driver.
func New(o Options) *Driver {
	return &Driver{
		opts: o, sandboxes: map[string]*driver.Sandbox{}, containers: map[string]*container{},
		images: map[string]driver.Image{}, subs: map[chan driver.Event]struct{}{},
	}
}

// RunSandbox implements driver.Sandboxes.
func (d *Driver) RunSandbox(_ context.Context, cfg driver.SandboxConfig) (driver.Sandbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sandboxes[cfg.ID]
	if !ok {
		s = &driver.Sandbox{
			ID: cfg.ID, Namespace: cfg.Namespace, Name: cfg.Name, UID: cfg.UID, Attempt: cfg.Attempt,
			Ready: true, CreatedAt: time.Now(), Labels: cfg.Labels,
		}
		if !cfg.HostNetwork && !d.opts.NoNetwork {
			s.NetNS = "/sim/" + cfg.ID
		}
		d.sandboxes[cfg.ID] = s
	}
	return *s, nil
}

// BreakSandbox makes a sandbox not ready, as a reboot does.
func (d *Driver) BreakSandbox(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sandboxes[id]; s != nil {
		s.Ready = false
	}
}

// RemoveSandbox implements driver.Sandboxes.
func (d *Driver) RemoveSandbox(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for cid, c := range d.containers {
		if c.SandboxID == id {
			d.end(c, 137)
			delete(d.containers, cid)
		}
	}
	delete(d.sandboxes, id)
	return nil
}

// ListSandboxes implements driver.Sandboxes.
func (d *Driver) ListSandboxes(context.Context) ([]driver.Sandbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]driver.Sandbox, 0, len(d.sandboxes))
	for _, s := range d.sandboxes {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b driver.Sandbox) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// CreateContainer implements driver.Containers.
func (d *Driver) CreateContainer(_ context.Context, sandboxID string, cfg driver.ContainerConfig) (string, error) {
	if d.opts.Create != nil {
		if err := d.opts.Create(cfg); err != nil {
			return "", err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sandboxes[sandboxID]
	if !ok {
		return "", fmt.Errorf("sandbox %s: %w", sandboxID, driver.ErrNotFound)
	}
	d.n++
	id := fmt.Sprintf("sim-%d-%s", d.n, cfg.Name)
	d.containers[id] = &container{cfg: cfg, done: make(chan struct{}), Container: driver.Container{
		ID: id, Name: cfg.Name, SandboxID: sandboxID, PodUID: s.UID, Attempt: cfg.Attempt, State: driver.ContainerCreated,
		Image: cfg.Image, ImageID: "sha256:" + cfg.Image, CreatedAt: time.Now(), LogPath: cfg.LogPath, Labels: cfg.Labels,
	}}
	return id, nil
}

// StartContainer implements driver.Containers.
func (d *Driver) StartContainer(_ context.Context, id string) error {
	d.mu.Lock()
	c, ok := d.containers[id]
	if !ok {
		d.mu.Unlock()
		return fmt.Errorf("container %s: %w", id, driver.ErrNotFound)
	}
	c.State, c.StartedAt = driver.ContainerRunning, time.Now()
	d.publish(driver.Event{Type: driver.EventStarted, ContainerID: id, At: c.StartedAt})
	now, cfg := c.Container, c.cfg
	d.mu.Unlock()
	if d.opts.Started != nil {
		d.opts.Started(d, now, cfg)
	}
	return nil
}

// End ends a running container, as if its process had exited.
func (d *Driver) End(id string, code int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.containers[id]; c != nil {
		d.end(c, code)
	}
}

func (d *Driver) end(c *container, code int32) {
	if c.State == driver.ContainerExited {
		return
	}
	c.State, c.ExitCode, c.FinishedAt = driver.ContainerExited, code, time.Now()
	close(c.done)
	d.publish(driver.Event{Type: driver.EventExited, ContainerID: c.ID, ExitCode: code, At: c.FinishedAt})
}

// StopContainer implements driver.Containers.
func (d *Driver) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	d.mu.Lock()
	c, ok := d.containers[id]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	code := int32(143)
	if d.opts.Ignore != nil && d.opts.Ignore(c.cfg) {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			code = 137
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.End(id, code)
	return nil
}

// RemoveContainer implements driver.Containers.
func (d *Driver) RemoveContainer(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.containers[id]; c != nil {
		d.end(c, 137)
		delete(d.containers, id)
	}
	return nil
}

// ListContainers implements driver.Containers.
func (d *Driver) ListContainers(context.Context) ([]driver.Container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]driver.Container, 0, len(d.containers))
	for _, c := range d.containers {
		out = append(out, c.Container)
	}
	slices.SortFunc(out, func(a, b driver.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// Config returns what a container was made with.
func (d *Driver) Config(id string) (driver.ContainerConfig, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.containers[id]
	if !ok {
		return driver.ContainerConfig{}, false
	}
	return c.cfg, true
}

// errHollow answers what needs a process.
var errHollow = errors.New("containers of this node are simulated: there is no process in them")

// Exec implements driver.Streams.
func (d *Driver) Exec(_ context.Context, id string, cmd []string, _ driver.Stdio) (int, error) {
	if _, ok := d.Config(id); !ok {
		return 0, fmt.Errorf("container %s: %w", id, driver.ErrNotFound)
	}
	if d.opts.Exec != nil {
		return d.opts.Exec(id, cmd)
	}
	return 0, nil
}

// Attach implements driver.Streams.
func (d *Driver) Attach(_ context.Context, id string, _ driver.Stdio) error {
	if _, ok := d.Config(id); !ok {
		return fmt.Errorf("container %s: %w", id, driver.ErrNotFound)
	}
	return errHollow
}

// PullImage implements driver.Images.
func (d *Driver) PullImage(_ context.Context, ref string, _ *driver.RegistryAuth) (driver.Image, error) {
	if d.opts.Pull != nil {
		if err := d.opts.Pull(ref); err != nil {
			return driver.Image{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := driver.Image{ID: "sha256:" + ref, RepoTags: []string{ref}}
	d.images[ref] = i
	return i, nil
}

// ImageStatus implements driver.Images.
func (d *Driver) ImageStatus(_ context.Context, ref string) (driver.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, i := range d.images {
		if name == ref || i.ID == ref {
			return i, nil
		}
	}
	if d.opts.Pull == nil {
		return driver.Image{ID: "sha256:" + ref, RepoTags: []string{ref}}, nil
	}
	return driver.Image{}, fmt.Errorf("image %s: %w", ref, driver.ErrNotFound)
}

// ListImages implements driver.Images.
func (d *Driver) ListImages(context.Context) ([]driver.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []driver.Image
	for _, i := range d.images {
		out = append(out, i)
	}
	return out, nil
}

// RemoveImage implements driver.Images.
func (d *Driver) RemoveImage(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, i := range d.images {
		if i.ID == id {
			delete(d.images, k)
		}
	}
	return nil
}

// Events implements driver.Observer.
func (d *Driver) Events(ctx context.Context) (<-chan driver.Event, error) {
	ch := make(chan driver.Event, 1024)
	d.mu.Lock()
	d.subs[ch] = struct{}{}
	d.mu.Unlock()
	context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, ok := d.subs[ch]; ok {
			delete(d.subs, ch)
			close(ch)
		}
	})
	return ch, nil
}

// publish is called under d.mu.
func (d *Driver) publish(e driver.Event) {
	for ch := range d.subs {
		select {
		case ch <- e:
		default:
			delete(d.subs, ch)
			close(ch)
		}
	}
}

// Version implements driver.Observer.
func (d *Driver) Version(context.Context) (string, error) { return "sim://1", nil }

// ContainerStats implements driver.StatsReader.
func (d *Driver) ContainerStats(_ context.Context, id string) (driver.Stats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.containers[id]; c == nil || c.State != driver.ContainerRunning {
		return driver.Stats{}, fmt.Errorf("container %s: %w", id, driver.ErrNotFound)
	}
	return driver.Stats{At: time.Now()}, nil
}
