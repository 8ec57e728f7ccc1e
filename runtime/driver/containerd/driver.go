package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Config is what the driver needs.
type Config struct {
	// Address is containerd's socket. Required.
	Address string
	// Namespace of containerd that is the driver's own, "pintle" by default.
	Namespace string
	// Dir is the driver's state. Absolute. Required.
	Dir string
	// Snapshotter, chosen among what containerd has where empty: overlayfs, else native.
	Snapshotter string
	// RuncRoot is runc's state directory; runc's own default where empty.
	RuncRoot string
	// Pause is a static executable and its arguments that does nothing but reap, for pods
	// with a shared process namespace. Without it such pods are refused.
	Pause []string
	// PlainHTTP are registries (host or host:port) to be reached without TLS, beside
	// those on loopback.
	PlainHTTP []string
	// LogMaxSize in bytes and LogMaxFiles bound a container's log.
	LogMaxSize  int64
	LogMaxFiles int
	Logger      *slog.Logger
}

// Driver is a driver.Driver on containerd.
type Driver struct {
	cfg    Config
	client *containerd.Client
	log    *slog.Logger
	// base ends with Close and carries the containerd namespace.
	base   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
	subs       map[chan driver.Event]struct{}

	images imageIndex
	oomMin int
}

var (
	_ driver.Driver        = (*Driver)(nil)
	_ driver.ImageImporter = (*Driver)(nil)
	_ driver.PortForwarder = (*Driver)(nil)
	_ driver.StatsReader   = (*Driver)(nil)
)

// New connects to containerd and takes over what an earlier driver with the same
// directory left running.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "pintle"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("containerd driver: Dir %q is no absolute path", cfg.Dir)
	}
	client, err := containerd.New(cfg.Address, containerd.WithDefaultNamespace(cfg.Namespace), containerd.WithTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", cfg.Address, err)
	}
	d := &Driver{
		cfg: cfg, client: client, log: cfg.Logger,
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*container{},
		subs:       map[chan driver.Event]struct{}{},
		oomMin:     oomFloor(),
	}
	d.base, d.cancel = context.WithCancel(namespaces.WithNamespace(context.Background(), cfg.Namespace))
	if err := d.start(namespaces.WithNamespace(ctx, cfg.Namespace)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Driver) start(ctx context.Context) error {
	for _, sub := range []string{"sandboxes", "containers"} {
		if err := os.MkdirAll(filepath.Join(d.cfg.Dir, sub), 0o711); err != nil {
			return fmt.Errorf("containerd driver: %w", err)
		}
	}
	if d.cfg.Snapshotter == "" {
		name, err := d.chooseSnapshotter(ctx)
		if err != nil {
			return err
		}
		d.cfg.Snapshotter = name
	}
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("containerd driver: take over what runs: %w", err)
	}
	return nil
}

// chooseSnapshotter takes overlayfs where it works on this host, else native.
func (d *Driver) chooseSnapshotter(ctx context.Context) (string, error) {
	resp, err := d.client.IntrospectionService().Plugins(ctx, `type==io.containerd.snapshotter.v1`)
	if err != nil {
		return "", fmt.Errorf("ask containerd for its snapshotters: %w", err)
	}
	for _, want := range []string{"overlayfs", "native"} {
		for _, p := range resp.Plugins {
			if p.ID == want && p.InitErr == nil {
				return want, nil
			}
		}
	}
	return "", errors.New("containerd has neither the overlayfs nor the native snapshotter")
}

// Close lets go of containerd. Containers keep running.
func (d *Driver) Close() error {
	d.cancel()
	d.mu.Lock()
	all := make([]*container, 0, len(d.containers))
	for _, c := range d.containers {
		all = append(all, c)
	}
	d.mu.Unlock()
	for _, c := range all {
		c.io.release()
	}
	d.wg.Wait()
	return d.client.Close()
}

// in adds the containerd namespace to a caller's context.
func (d *Driver) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, d.cfg.Namespace)
}

func (d *Driver) logConfig() logs.WriterConfig {
	return logs.WriterConfig{MaxSize: d.cfg.LogMaxSize, MaxFiles: d.cfg.LogMaxFiles}
}

// Version implements driver.Observer.
func (d *Driver) Version(ctx context.Context) (string, error) {
	v, err := d.client.Version(d.in(ctx))
	if err != nil {
		return "", fmt.Errorf("ask containerd for its version: %w", err)
	}
	return "containerd://" + v.Version, nil
}

// recover reads the records and brings them together with what containerd has.
func (d *Driver) recover(ctx context.Context) error {
	if err := readRecords(filepath.Join(d.cfg.Dir, "sandboxes"), d.log, func(dir string, r sandboxRecord) {
		d.sandboxes[r.Config.ID] = &sandbox{record: r, dir: dir}
	}); err != nil {
		return err
	}
	if err := readRecords(filepath.Join(d.cfg.Dir, "containers"), d.log, func(dir string, r containerRecord) {
		d.containers[r.ID] = d.newContainer(dir, r)
	}); err != nil {
		return err
	}
	have, err := d.client.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	known := map[string]containerd.Container{}
	for _, c := range have {
		if _, ok := d.containers[c.ID()]; ok || d.isPause(c.ID()) {
			known[c.ID()] = c
			continue
		}
		// Left over from a creation that was cut off: nothing refers to it.
		d.log.Warn("removing a container without a record", "container", c.ID())
		if err := d.deleteContainerd(ctx, c); err != nil {
			d.log.Warn("cannot remove a container without a record", "container", c.ID(), "err", err)
		}
	}
	for _, c := range d.containers {
		if c.record.Finished {
			continue
		}
		d.takeOver(ctx, c, known[c.record.ID])
	}
	return nil
}

// takeOver makes an unfinished container of an earlier driver this one's.
func (d *Driver) takeOver(ctx context.Context, c *container, cc containerd.Container) {
	var task containerd.Task
	var err error
	if cc != nil {
		task, err = cc.Task(ctx, nil)
	}
	if cc == nil || err != nil {
		if err != nil && !errdefs.IsNotFound(err) {
			d.log.Warn("cannot reach a container's task; taking it as ended", "container", c.record.ID, "err", err)
		}
		c.finish(exit{Code: 255, At: time.Now(), Lost: true})
		return
	}
	if err := c.io.open(d.base, d.logConfig()); err != nil {
		d.log.Warn("cannot take over the output of a container", "container", c.record.ID, "err", err)
	}
	d.watchTask(c, task)
}

// Events implements driver.Observer.
func (d *Driver) Events(ctx context.Context) (<-chan driver.Event, error) {
	ch := make(chan driver.Event, 256)
	d.mu.Lock()
	d.subs[ch] = struct{}{}
	d.mu.Unlock()
	d.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-d.base.Done():
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, ok := d.subs[ch]; ok {
			delete(d.subs, ch)
			close(ch)
		}
	})
	return ch, nil
}

// publish tells all subscribers. One that does not keep up is cut off, which makes it
// subscribe again and relist.
func (d *Driver) publish(e driver.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ch := range d.subs {
		select {
		case ch <- e:
		default:
			delete(d.subs, ch)
			close(ch)
		}
	}
}

// ListSandboxes implements driver.Sandboxes.
func (d *Driver) ListSandboxes(context.Context) ([]driver.Sandbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]driver.Sandbox, 0, len(d.sandboxes))
	for _, s := range d.sandboxes {
		out = append(out, s.status())
	}
	slices.SortFunc(out, func(a, b driver.Sandbox) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// ListContainers implements driver.Containers.
func (d *Driver) ListContainers(context.Context) ([]driver.Container, error) {
	d.mu.Lock()
	all := make([]*container, 0, len(d.containers))
	for _, c := range d.containers {
		all = append(all, c)
	}
	d.mu.Unlock()
	out := make([]driver.Container, 0, len(all))
	for _, c := range all {
		out = append(out, c.status())
	}
	slices.SortFunc(out, func(a, b driver.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

func (d *Driver) container(id string) (*container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.containers[id]
	if !ok {
		return nil, fmt.Errorf("container %s: %w", id, driver.ErrNotFound)
	}
	return c, nil
}

func (d *Driver) sandbox(id string) (*sandbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sandboxes[id]
	if !ok {
		return nil, fmt.Errorf("sandbox %s: %w", id, driver.ErrNotFound)
	}
	return s, nil
}
