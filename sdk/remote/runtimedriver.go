package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// maxListed bounds what a driver may list: there are never so many on one node.
const maxListed = 1 << 17

// RuntimeDriver is a container runtime on the other end of a connection.
type RuntimeDriver struct {
	*Client
	client pluginv1.RuntimeDriverClient
}

var _ runtimedriver.RuntimeDriver = (*RuntimeDriver)(nil)

// RuntimeDriver returns the plugin as a container runtime, where it is one.
func (c *Client) RuntimeDriver() (*RuntimeDriver, bool) {
	return &RuntimeDriver{Client: c, client: pluginv1.NewRuntimeDriverClient(c.conn)}, c.offers(protocol.PointRuntimeDriver)
}

// Open implements runtimedriver.RuntimeDriver. env is not used: the plugin has its own.
func (p *RuntimeDriver) Open(ctx context.Context, _ plugin.Env) (runtimedriver.Driver, error) {
	d, _, err := p.OpenDriver(ctx)
	return d, err
}

// OpenDriver opens the driver until ctx is done. gone is closed when it no longer is.
//
// It has all optional calls; errors.ErrUnsupported tells which of them the driver lacks.
func (p *RuntimeDriver) OpenDriver(ctx context.Context) (d runtimedriver.Driver, gone <-chan struct{}, err error) {
	env, err := p.environment()
	if err != nil {
		return nil, nil, err
	}
	stream, err := p.client.Open(ctx, &pluginv1.OpenRuntimeDriverRequest{Environment: env})
	if err != nil {
		return nil, nil, unwire(err)
	}
	if _, err := stream.Recv(); err != nil {
		return nil, nil, opening(err)
	}
	return remoteDriver{p.client}, ended(stream.Recv), nil
}

// remoteDriver is an open driver.
type remoteDriver struct{ client pluginv1.RuntimeDriverClient }

var (
	_ runtimedriver.Driver        = remoteDriver{}
	_ runtimedriver.ImageImporter = remoteDriver{}
	_ runtimedriver.PortForwarder = remoteDriver{}
	_ runtimedriver.StatsReader   = remoteDriver{}
)

// meaning is a driver's error in its own words, with what it means.
type meaning struct {
	words string
	is    error
}

func (e *meaning) Error() string { return e.words }
func (e *meaning) Unwrap() error { return e.is }

// driverError gives an error the meaning back that it had.
func driverError(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return err
	case s.Code() == codes.NotFound:
		return &meaning{s.Message(), runtimedriver.ErrNotFound}
	case s.Code() == codes.Unimplemented:
		return &meaning{s.Message(), errors.ErrUnsupported}
	case s.Code() == codes.Unavailable, s.Code() == codes.FailedPrecondition, s.Code() == codes.Canceled && ctx.Err() == nil:
		return fmt.Errorf("%w: %s", runtimedriver.ErrUnavailable, s.Message())
	}
	return unwire(err)
}

// RunSandbox implements runtimedriver.Sandboxes.
func (d remoteDriver) RunSandbox(ctx context.Context, cfg runtimedriver.SandboxConfig) (runtimedriver.Sandbox, error) {
	s, err := d.client.RunSandbox(ctx, sandboxConfigToWire(cfg))
	if err != nil {
		return runtimedriver.Sandbox{}, driverError(ctx, err)
	}
	return sandboxFromWire(s), nil
}

// RemoveSandbox implements runtimedriver.Sandboxes.
func (d remoteDriver) RemoveSandbox(ctx context.Context, id string) error {
	_, err := d.client.RemoveSandbox(ctx, &pluginv1.RemoveSandboxRequest{Id: id})
	return driverError(ctx, err)
}

// listed reads a list that comes in pieces.
func listed[M interface{ GetItems() []W }, W, T any](ctx context.Context, recv func() (M, error), item func(W) T) ([]T, error) {
	var out []T
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, driverError(ctx, err)
		}
		if len(out)+len(m.GetItems()) > maxListed {
			return nil, fmt.Errorf("the driver lists more than %d", maxListed)
		}
		for _, w := range m.GetItems() {
			out = append(out, item(w))
		}
	}
}

// ListSandboxes implements runtimedriver.Sandboxes.
func (d remoteDriver) ListSandboxes(ctx context.Context) ([]runtimedriver.Sandbox, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.client.ListSandboxes(ctx, &pluginv1.ListSandboxesRequest{})
	if err != nil {
		return nil, driverError(ctx, err)
	}
	return listed(ctx, stream.Recv, sandboxFromWire)
}

// CreateContainer implements runtimedriver.Containers.
func (d remoteDriver) CreateContainer(ctx context.Context, sandboxID string, cfg runtimedriver.ContainerConfig) (string, error) {
	r, err := d.client.CreateContainer(ctx, containerConfigToWire(sandboxID, cfg))
	if err != nil {
		return "", driverError(ctx, err)
	}
	if r.GetId() == "" {
		return "", errors.New("the driver made a container and gave no id")
	}
	return r.GetId(), nil
}

// StartContainer implements runtimedriver.Containers.
func (d remoteDriver) StartContainer(ctx context.Context, id string) error {
	_, err := d.client.StartContainer(ctx, &pluginv1.StartContainerRequest{Id: id})
	return driverError(ctx, err)
}

// StopContainer implements runtimedriver.Containers.
func (d remoteDriver) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	_, err := d.client.StopContainer(ctx, &pluginv1.StopContainerRequest{Id: id, GraceNs: int64(grace)})
	return driverError(ctx, err)
}

// RemoveContainer implements runtimedriver.Containers.
func (d remoteDriver) RemoveContainer(ctx context.Context, id string) error {
	_, err := d.client.RemoveContainer(ctx, &pluginv1.RemoveContainerRequest{Id: id})
	return driverError(ctx, err)
}

// ListContainers implements runtimedriver.Containers.
func (d remoteDriver) ListContainers(ctx context.Context) ([]runtimedriver.Container, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.client.ListContainers(ctx, &pluginv1.ListContainersRequest{})
	if err != nil {
		return nil, driverError(ctx, err)
	}
	return listed(ctx, stream.Recv, containerFromWire)
}

// PullImage implements runtimedriver.Images.
func (d remoteDriver) PullImage(ctx context.Context, ref string, auth *runtimedriver.RegistryAuth) (runtimedriver.Image, error) {
	r := &pluginv1.PullImageRequest{Ref: ref}
	if auth != nil {
		r.Auth = &pluginv1.RuntimeRegistryAuth{Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken}
	}
	i, err := d.client.PullImage(ctx, r)
	if err != nil {
		return runtimedriver.Image{}, driverError(ctx, err)
	}
	return imageFromWire(i), nil
}

// ImageStatus implements runtimedriver.Images.
func (d remoteDriver) ImageStatus(ctx context.Context, ref string) (runtimedriver.Image, error) {
	i, err := d.client.ImageStatus(ctx, &pluginv1.ImageStatusRequest{Ref: ref})
	if err != nil {
		return runtimedriver.Image{}, driverError(ctx, err)
	}
	return imageFromWire(i), nil
}

// ListImages implements runtimedriver.Images.
func (d remoteDriver) ListImages(ctx context.Context) ([]runtimedriver.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.client.ListImages(ctx, &pluginv1.ListImagesRequest{})
	if err != nil {
		return nil, driverError(ctx, err)
	}
	return listed(ctx, stream.Recv, imageFromWire)
}

// RemoveImage implements runtimedriver.Images.
func (d remoteDriver) RemoveImage(ctx context.Context, id string) error {
	_, err := d.client.RemoveImage(ctx, &pluginv1.RemoveImageRequest{Id: id})
	return driverError(ctx, err)
}

// ImportImages implements runtimedriver.ImageImporter.
func (d remoteDriver) ImportImages(ctx context.Context, archive io.Reader) ([]runtimedriver.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.client.ImportImages(ctx)
	if err != nil {
		return nil, driverError(ctx, err)
	}
	for buf := make([]byte, pieceBytes); ; {
		n, err := archive.Read(buf)
		if n > 0 && stream.Send(&pluginv1.Bytes{Data: buf[:n]}) != nil {
			break // why is what the answer says
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
	}
	r, err := stream.CloseAndRecv()
	if err != nil {
		return nil, driverError(ctx, err)
	}
	var out []runtimedriver.Image
	for _, i := range r.GetItems() {
		out = append(out, imageFromWire(i))
	}
	return out, nil
}

// eventsWaiting is how many events wait for who subscribed, before the driver has to.
const eventsWaiting = 256

// Events implements runtimedriver.Observer.
func (d remoteDriver) Events(ctx context.Context) (<-chan runtimedriver.Event, error) {
	life, cancel := context.WithCancel(ctx)
	stream, err := d.client.Events(life, &pluginv1.RuntimeEventsRequest{})
	if err == nil {
		_, err = stream.Recv() // what has happened since then is not missed
	}
	if err != nil {
		cancel()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it ended the stream of events", runtimedriver.ErrUnavailable)
		}
		return nil, driverError(ctx, err)
	}
	out := make(chan runtimedriver.Event, eventsWaiting)
	go func() {
		defer cancel()
		defer close(out)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			for _, w := range m.GetItems() {
				select {
				case out <- eventFromWire(w):
				case <-life.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// Version implements runtimedriver.Observer.
func (d remoteDriver) Version(ctx context.Context) (string, error) {
	r, err := d.client.Version(ctx, &pluginv1.RuntimeVersionRequest{})
	return r.GetVersion(), driverError(ctx, err)
}

// ContainerStats implements runtimedriver.StatsReader.
func (d remoteDriver) ContainerStats(ctx context.Context, id string) (runtimedriver.Stats, error) {
	r, err := d.client.ContainerStats(ctx, &pluginv1.ContainerStatsRequest{Id: id})
	if err != nil {
		return runtimedriver.Stats{}, driverError(ctx, err)
	}
	return runtimedriver.Stats{
		At: timeFromWire(r.GetAt()), CPUNanos: r.GetCpuNanos(), MemoryUsage: r.GetMemoryUsage(), MemoryWorking: r.GetMemoryWorking(),
		Pids: r.GetPids(), WritableBytes: r.GetWritableBytes(), WritableInodes: r.GetWritableInodes(), MemoryLimit: r.GetMemoryLimit(),
		PageFaults: r.GetPageFaults(), MajorPageFaults: r.GetMajorPageFaults(),
	}, nil
}
