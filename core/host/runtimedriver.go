package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/internal/place"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

const (
	// driverPatience is how long a call to a runtime driver waits for one that is away: a first
	// restart, which is immediate, is not noticed. The node is not ready after that.
	driverPatience = 5 * time.Second
	// driverTimeout bounds the calls that a runtime answers without waiting for anything.
	driverTimeout = 2 * time.Minute
)

// driverHolder keeps a runtime driver open for the node's agent.
type driverHolder struct {
	supervisor *supervisor
	open       openings[runtimedriver.Driver]
	place      place.Place[*heldDriver]

	mu      sync.Mutex
	current *heldDriver
	before  []<-chan struct{} // each closed when the calls on a driver that was replaced have ended
}

// heldDriver is a driver for as long as it is the one that is asked.
type heldDriver struct {
	runtimedriver.Driver
	over chan struct{} // closed then
}

func newDriverHolder(s *supervisor) *driverHolder { return &driverHolder{supervisor: s} }

func (h *driverHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	d, err := h.open.attach(ctx, g, h.supervisor.host.config.CallTimeout, failed, func(life context.Context) (runtimedriver.Driver, <-chan struct{}, error) {
		if g.client != nil {
			p, ok := g.client.RuntimeDriver()
			if !ok {
				return nil, nil, fmt.Errorf("it does not offer point %q", protocol.PointRuntimeDriver)
			}
			return p.OpenDriver(life)
		}
		p, ok := g.base.(runtimedriver.RuntimeDriver)
		if !ok {
			return nil, nil, fmt.Errorf("it offers point %q and is no runtime driver", protocol.PointRuntimeDriver)
		}
		d, err := p.Open(life, g.env)
		return d, life.Done(), err
	})
	if err != nil {
		return fmt.Errorf("runtime driver: %w", err)
	}
	h.take(&heldDriver{Driver: d, over: make(chan struct{})})
	return nil
}

// detach has no calls wait for those that are under way: they end with the plugin.
func (h *driverHolder) detach() {
	h.take(nil)
	h.open.detach()
}

// take makes d the driver that is asked, nil for none.
func (h *driverHolder) take(d *heldDriver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		close(h.current.over)
	}
	h.current = d
	var drained <-chan struct{}
	if d == nil {
		drained = h.place.Leave()
	} else {
		drained = h.place.Set(d)
	}
	h.before = append(slices.DeleteFunc(h.before, isClosed), drained)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// drain implements drainer.
func (h *driverHolder) drain(ctx context.Context) {
	h.mu.Lock()
	before := h.before
	h.mu.Unlock()
	for _, drained := range before {
		select {
		case <-drained:
		case <-ctx.Done():
			return
		}
	}
}

// RuntimeDriver returns the named plugin as the container runtime of the host's node. The value
// stays valid when the plugin restarts, is upgraded, removed and added: calls wait a few seconds
// for it to be back, and fail with runtimedriver.ErrUnavailable then. Version does not wait, so it
// says how the plugin is.
//
// The plugin is not believed that the logs of its containers are anywhere but below logs.
func (h *Host) RuntimeDriver(name, logs string) runtimedriver.Driver {
	return &driverProxy{host: h, name: name, logs: logs}
}

// driverProxy is a runtime driver whose plugin may come and go.
type driverProxy struct {
	host       *Host
	name, logs string
}

var (
	_ runtimedriver.Driver        = (*driverProxy)(nil)
	_ runtimedriver.ImageImporter = (*driverProxy)(nil)
	_ runtimedriver.PortForwarder = (*driverProxy)(nil)
	_ runtimedriver.StatsReader   = (*driverProxy)(nil)
)

// call calls the driver as it runs now.
func (p *driverProxy) call(ctx context.Context, patience time.Duration, f func(context.Context, *heldDriver) error) error {
	s, err := p.host.plugin(p.name)
	if err != nil {
		return fmt.Errorf("runtime driver %s: %w: %w", p.name, err, runtimedriver.ErrUnavailable)
	}
	holder, ok := s.holders[protocol.PointRuntimeDriver].(*driverHolder)
	if !ok {
		return fmt.Errorf("runtime driver %s: this host has no place for one", p.name)
	}
	seat, err := holder.place.Take(ctx, patience)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		st := s.snapshot()
		if st.Health == HealthHealthy && !slices.Contains(st.Points, protocol.PointRuntimeDriver) {
			return fmt.Errorf("plugin %s is no runtime driver: it offers %v: %w", p.name, st.Points, runtimedriver.ErrUnavailable)
		}
		return fmt.Errorf("runtime driver %s is %s: %s: %w", p.name, st.Health, st.Reason, runtimedriver.ErrUnavailable)
	}
	defer seat.Done()
	if err := f(ctx, seat.Value); err != nil {
		return fmt.Errorf("runtime driver %s: %w", p.name, err)
	}
	return nil
}

// quick is call for what a runtime answers at once.
func (p *driverProxy) quick(ctx context.Context, f func(context.Context, *heldDriver) error) error {
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	return p.call(ctx, driverPatience, f)
}

// RunSandbox implements runtimedriver.Sandboxes.
func (p *driverProxy) RunSandbox(ctx context.Context, cfg runtimedriver.SandboxConfig) (s runtimedriver.Sandbox, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) { s, err = d.RunSandbox(ctx, cfg); return err })
	return s, err
}

// RemoveSandbox implements runtimedriver.Sandboxes.
func (p *driverProxy) RemoveSandbox(ctx context.Context, id string) error {
	return p.quick(ctx, func(ctx context.Context, d *heldDriver) error { return d.RemoveSandbox(ctx, id) })
}

// ListSandboxes implements runtimedriver.Sandboxes.
func (p *driverProxy) ListSandboxes(ctx context.Context) (list []runtimedriver.Sandbox, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) { list, err = d.ListSandboxes(ctx); return err })
	return list, err
}

// CreateContainer implements runtimedriver.Containers.
func (p *driverProxy) CreateContainer(ctx context.Context, sandboxID string, cfg runtimedriver.ContainerConfig) (id string, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) {
		id, err = d.CreateContainer(ctx, sandboxID, cfg)
		return err
	})
	return id, err
}

// StartContainer implements runtimedriver.Containers.
func (p *driverProxy) StartContainer(ctx context.Context, id string) error {
	return p.quick(ctx, func(ctx context.Context, d *heldDriver) error { return d.StartContainer(ctx, id) })
}

// StopContainer implements runtimedriver.Containers.
func (p *driverProxy) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, max(grace, 0)+driverTimeout)
	defer cancel()
	return p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) error { return d.StopContainer(ctx, id, grace) })
}

// RemoveContainer implements runtimedriver.Containers.
func (p *driverProxy) RemoveContainer(ctx context.Context, id string) error {
	return p.quick(ctx, func(ctx context.Context, d *heldDriver) error { return d.RemoveContainer(ctx, id) })
}

// ListContainers implements runtimedriver.Containers.
func (p *driverProxy) ListContainers(ctx context.Context) (list []runtimedriver.Container, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) { list, err = d.ListContainers(ctx); return err })
	for i := range list {
		c := &list[i]
		if rel, relErr := filepath.Rel(p.logs, c.LogPath); relErr != nil || !filepath.IsLocal(rel) {
			c.LogPath = "" // the agent reads and removes what is there, as root
		}
		switch c.State {
		case runtimedriver.ContainerCreated, runtimedriver.ContainerRunning, runtimedriver.ContainerExited:
		default:
			return nil, fmt.Errorf("runtime driver %s: container %s is in state %q, which there is not", p.name, c.ID, c.State)
		}
	}
	return list, err
}

// Exec implements runtimedriver.Streams.
func (p *driverProxy) Exec(ctx context.Context, id string, cmd []string, std runtimedriver.Stdio) (code int, err error) {
	err = p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) (err error) {
		code, err = d.Exec(ctx, id, cmd, std)
		return err
	})
	return code, err
}

// Attach implements runtimedriver.Streams.
func (p *driverProxy) Attach(ctx context.Context, id string, std runtimedriver.Stdio) error {
	return p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) error { return d.Attach(ctx, id, std) })
}

// PortForward implements runtimedriver.PortForwarder.
func (p *driverProxy) PortForward(ctx context.Context, sandboxID string, port int32, conn io.ReadWriteCloser) error {
	defer func() { _ = conn.Close() }()
	return p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) error {
		f, ok := d.Driver.(runtimedriver.PortForwarder)
		if !ok {
			return fmt.Errorf("it forwards no ports: %w", errors.ErrUnsupported)
		}
		return f.PortForward(ctx, sandboxID, port, conn)
	})
}

// PullImage implements runtimedriver.Images. An image may be large: it has no deadline but the
// caller's.
func (p *driverProxy) PullImage(ctx context.Context, ref string, auth *runtimedriver.RegistryAuth) (i runtimedriver.Image, err error) {
	err = p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) (err error) { i, err = d.PullImage(ctx, ref, auth); return err })
	return i, err
}

// ImageStatus implements runtimedriver.Images.
func (p *driverProxy) ImageStatus(ctx context.Context, ref string) (i runtimedriver.Image, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) { i, err = d.ImageStatus(ctx, ref); return err })
	return i, err
}

// ListImages implements runtimedriver.Images.
func (p *driverProxy) ListImages(ctx context.Context) (list []runtimedriver.Image, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) { list, err = d.ListImages(ctx); return err })
	return list, err
}

// RemoveImage implements runtimedriver.Images.
func (p *driverProxy) RemoveImage(ctx context.Context, id string) error {
	return p.quick(ctx, func(ctx context.Context, d *heldDriver) error { return d.RemoveImage(ctx, id) })
}

// ImportImages implements runtimedriver.ImageImporter.
func (p *driverProxy) ImportImages(ctx context.Context, archive io.Reader) (list []runtimedriver.Image, err error) {
	err = p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) (err error) {
		i, ok := d.Driver.(runtimedriver.ImageImporter)
		if !ok {
			return fmt.Errorf("it imports no images: %w", errors.ErrUnsupported)
		}
		list, err = i.ImportImages(ctx, archive)
		return err
	})
	return list, err
}

// Events implements runtimedriver.Observer. The channel is closed, too, when another process of
// the plugin takes over: what happened in between is for who lists then.
func (p *driverProxy) Events(ctx context.Context) (<-chan runtimedriver.Event, error) {
	var events <-chan runtimedriver.Event
	err := p.call(ctx, driverPatience, func(ctx context.Context, d *heldDriver) (err error) {
		life, cancel := context.WithCancel(ctx)
		if events, err = d.Events(life); err != nil {
			cancel()
			return err
		}
		go func() {
			defer cancel()
			select {
			case <-d.over:
			case <-life.Done():
			}
		}()
		return nil
	})
	return events, err
}

// Version implements runtimedriver.Observer.
func (p *driverProxy) Version(ctx context.Context) (v string, err error) {
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	err = p.call(ctx, 0, func(ctx context.Context, d *heldDriver) (err error) { v, err = d.Version(ctx); return err })
	return v, err
}

// ContainerStats implements runtimedriver.StatsReader.
func (p *driverProxy) ContainerStats(ctx context.Context, id string) (st runtimedriver.Stats, err error) {
	err = p.quick(ctx, func(ctx context.Context, d *heldDriver) (err error) {
		r, ok := d.Driver.(runtimedriver.StatsReader)
		if !ok {
			return fmt.Errorf("it measures nothing: %w", errors.ErrUnsupported)
		}
		st, err = r.ContainerStats(ctx, id)
		return err
	})
	return st, err
}
