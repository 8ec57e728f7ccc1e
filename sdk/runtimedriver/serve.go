package runtimedriver

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/internal/opened"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as the container runtime of a node.
func Point(impl RuntimeDriver) plugin.Point {
	return protocol.NewPoint(protocol.PointRuntimeDriver, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterRuntimeDriverServer(s, &server{impl: impl, host: h})
	})
}

// perMessage is how many items of a list, or events, go into one message.
const perMessage = 64

type server struct {
	pluginv1.UnimplementedRuntimeDriverServer
	impl RuntimeDriver
	host plugin.Host
	open opened.Slot[Driver]
}

// errorToWire keeps what an error means.
func errorToWire(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, errors.ErrUnsupported):
		return status.Error(codes.Unimplemented, err.Error())
	}
	return protocol.PluginError(err)
}

// Open implements pluginv1.RuntimeDriverServer.
func (s *server) Open(r *pluginv1.OpenRuntimeDriverRequest, stream grpc.ServerStreamingServer[pluginv1.RuntimeDriverOpened]) error {
	return s.open.Hold(stream.Context(), func(ctx context.Context) (Driver, error) {
		env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		d, err := s.impl.Open(ctx, env)
		if err != nil {
			return nil, protocol.PluginError(err)
		}
		if d == nil {
			return nil, status.Error(codes.Aborted, "the plugin opened no driver")
		}
		return d, nil
	}, func(d Driver) error {
		answer := &pluginv1.RuntimeDriverOpened{}
		_, answer.ImportImages = d.(ImageImporter)
		_, answer.ContainerStats = d.(StatsReader)
		_, answer.PortForward = d.(PortForwarder)
		return stream.Send(answer)
	})
}

// able returns the driver as the interface of something that it may lack.
func able[T any](s *server, what string) (T, error) {
	var none T
	d, err := s.open.Get()
	if err != nil {
		return none, err
	}
	t, ok := d.(T)
	if !ok {
		return none, status.Error(codes.Unimplemented, "the driver does not "+what)
	}
	return t, nil
}

// ask calls the driver for something, of which answer makes the message.
func ask[T, A any](s *server, call func(Driver) (T, error), answer func(T) A) (A, error) {
	var none A
	d, err := s.open.Get()
	if err != nil {
		return none, err
	}
	v, err := call(d)
	if err != nil {
		return none, errorToWire(err)
	}
	return answer(v), nil
}

// do calls the driver for what has no answer.
func do[A any](s *server, call func(Driver) error, done *A) (*A, error) {
	return ask(s, func(d Driver) (struct{}, error) { return struct{}{}, call(d) }, func(struct{}) *A { return done })
}

// list sends what the driver lists, some at a time.
func list[T, W any](s *server, call func(Driver) ([]T, error), wire func(T) W, send func([]W) error) error {
	items, err := ask(s, call, func(items []T) []T { return items })
	if err != nil {
		return err
	}
	for len(items) > 0 {
		n := min(len(items), perMessage)
		some := make([]W, 0, n)
		for _, item := range items[:n] {
			some = append(some, wire(item))
		}
		if err := send(some); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// RunSandbox implements pluginv1.RuntimeDriverServer.
func (s *server) RunSandbox(ctx context.Context, r *pluginv1.RunSandboxRequest) (*pluginv1.RuntimeSandbox, error) {
	return ask(s, func(d Driver) (Sandbox, error) { return d.RunSandbox(ctx, sandboxConfigFromWire(r)) }, sandboxToWire)
}

// RemoveSandbox implements pluginv1.RuntimeDriverServer.
func (s *server) RemoveSandbox(ctx context.Context, r *pluginv1.RemoveSandboxRequest) (*pluginv1.RemoveSandboxResponse, error) {
	return do(s, func(d Driver) error { return d.RemoveSandbox(ctx, r.GetId()) }, &pluginv1.RemoveSandboxResponse{})
}

// ListSandboxes implements pluginv1.RuntimeDriverServer.
func (s *server) ListSandboxes(_ *pluginv1.ListSandboxesRequest, stream grpc.ServerStreamingServer[pluginv1.RuntimeSandboxes]) error {
	return list(s, func(d Driver) ([]Sandbox, error) { return d.ListSandboxes(stream.Context()) }, sandboxToWire,
		func(some []*pluginv1.RuntimeSandbox) error {
			return stream.Send(&pluginv1.RuntimeSandboxes{Items: some})
		})
}

// CreateContainer implements pluginv1.RuntimeDriverServer.
func (s *server) CreateContainer(ctx context.Context, r *pluginv1.CreateContainerRequest) (*pluginv1.CreateContainerResponse, error) {
	return ask(s, func(d Driver) (string, error) {
		return d.CreateContainer(ctx, r.GetSandboxId(), containerConfigFromWire(r))
	},
		func(id string) *pluginv1.CreateContainerResponse { return &pluginv1.CreateContainerResponse{Id: id} })
}

// StartContainer implements pluginv1.RuntimeDriverServer.
func (s *server) StartContainer(ctx context.Context, r *pluginv1.StartContainerRequest) (*pluginv1.StartContainerResponse, error) {
	return do(s, func(d Driver) error { return d.StartContainer(ctx, r.GetId()) }, &pluginv1.StartContainerResponse{})
}

// StopContainer implements pluginv1.RuntimeDriverServer.
func (s *server) StopContainer(ctx context.Context, r *pluginv1.StopContainerRequest) (*pluginv1.StopContainerResponse, error) {
	return do(s, func(d Driver) error { return d.StopContainer(ctx, r.GetId(), time.Duration(r.GetGraceNs())) }, &pluginv1.StopContainerResponse{})
}

// RemoveContainer implements pluginv1.RuntimeDriverServer.
func (s *server) RemoveContainer(ctx context.Context, r *pluginv1.RemoveContainerRequest) (*pluginv1.RemoveContainerResponse, error) {
	return do(s, func(d Driver) error { return d.RemoveContainer(ctx, r.GetId()) }, &pluginv1.RemoveContainerResponse{})
}

// ListContainers implements pluginv1.RuntimeDriverServer.
func (s *server) ListContainers(_ *pluginv1.ListContainersRequest, stream grpc.ServerStreamingServer[pluginv1.RuntimeContainers]) error {
	return list(s, func(d Driver) ([]Container, error) { return d.ListContainers(stream.Context()) }, containerToWire,
		func(some []*pluginv1.RuntimeContainer) error {
			return stream.Send(&pluginv1.RuntimeContainers{Items: some})
		})
}

// PullImage implements pluginv1.RuntimeDriverServer.
func (s *server) PullImage(ctx context.Context, r *pluginv1.PullImageRequest) (*pluginv1.RuntimeImage, error) {
	var auth *RegistryAuth
	if a := r.GetAuth(); a != nil {
		auth = &RegistryAuth{Username: a.GetUsername(), Password: a.GetPassword(), IdentityToken: a.GetIdentityToken()}
	}
	return ask(s, func(d Driver) (Image, error) { return d.PullImage(ctx, r.GetRef(), auth) }, imageToWire)
}

// ImageStatus implements pluginv1.RuntimeDriverServer.
func (s *server) ImageStatus(ctx context.Context, r *pluginv1.ImageStatusRequest) (*pluginv1.RuntimeImage, error) {
	return ask(s, func(d Driver) (Image, error) { return d.ImageStatus(ctx, r.GetRef()) }, imageToWire)
}

// ListImages implements pluginv1.RuntimeDriverServer.
func (s *server) ListImages(_ *pluginv1.ListImagesRequest, stream grpc.ServerStreamingServer[pluginv1.RuntimeImages]) error {
	return list(s, func(d Driver) ([]Image, error) { return d.ListImages(stream.Context()) }, imageToWire,
		func(some []*pluginv1.RuntimeImage) error { return stream.Send(&pluginv1.RuntimeImages{Items: some}) })
}

// RemoveImage implements pluginv1.RuntimeDriverServer.
func (s *server) RemoveImage(ctx context.Context, r *pluginv1.RemoveImageRequest) (*pluginv1.RemoveImageResponse, error) {
	return do(s, func(d Driver) error { return d.RemoveImage(ctx, r.GetId()) }, &pluginv1.RemoveImageResponse{})
}

// ImportImages implements pluginv1.RuntimeDriverServer.
func (s *server) ImportImages(stream grpc.ClientStreamingServer[pluginv1.Bytes, pluginv1.RuntimeImages]) error {
	d, err := able[ImageImporter](s, "import images")
	if err != nil {
		return err
	}
	images, err := d.ImportImages(stream.Context(), &archive{recv: stream.Recv})
	if err != nil {
		return errorToWire(err)
	}
	answer := &pluginv1.RuntimeImages{}
	for _, i := range images {
		answer.Items = append(answer.Items, imageToWire(i))
	}
	return stream.SendAndClose(answer)
}

// archive reads the pieces of an archive, each when the one before it has been read.
type archive struct {
	recv func() (*pluginv1.Bytes, error)
	rest []byte
}

// Read implements io.Reader.
func (a *archive) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		m, err := a.recv()
		if err != nil {
			return 0, err //nolint:wrapcheck // io.EOF, or why it broke off
		}
		a.rest = m.GetData()
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

var _ io.Reader = (*archive)(nil)

// Events implements pluginv1.RuntimeDriverServer.
func (s *server) Events(_ *pluginv1.RuntimeEventsRequest, stream grpc.ServerStreamingServer[pluginv1.RuntimeEvents]) error {
	d, err := s.open.Get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	events, err := d.Events(ctx)
	if err != nil {
		return errorToWire(err)
	}
	if err := stream.Send(&pluginv1.RuntimeEvents{}); err != nil {
		return err
	}
	for e := range events {
		some := []*pluginv1.RuntimeEvent{eventToWire(e)}
		for range min(len(events), perMessage-1) {
			if e, ok := <-events; ok {
				some = append(some, eventToWire(e))
			}
		}
		if err := stream.Send(&pluginv1.RuntimeEvents{Items: some}); err != nil {
			return err
		}
	}
	return nil
}

// Version implements pluginv1.RuntimeDriverServer.
func (s *server) Version(ctx context.Context, _ *pluginv1.RuntimeVersionRequest) (*pluginv1.RuntimeVersionResponse, error) {
	return ask(s, func(d Driver) (string, error) { return d.Version(ctx) },
		func(v string) *pluginv1.RuntimeVersionResponse { return &pluginv1.RuntimeVersionResponse{Version: v} })
}

// ContainerStats implements pluginv1.RuntimeDriverServer.
func (s *server) ContainerStats(ctx context.Context, r *pluginv1.ContainerStatsRequest) (*pluginv1.ContainerStatsResponse, error) {
	d, err := able[StatsReader](s, "measure containers")
	if err != nil {
		return nil, err
	}
	st, err := d.ContainerStats(ctx, r.GetId())
	if err != nil {
		return nil, errorToWire(err)
	}
	return &pluginv1.ContainerStatsResponse{
		At: timeToWire(st.At), CpuNanos: st.CPUNanos, MemoryUsage: st.MemoryUsage, MemoryWorking: st.MemoryWorking, Pids: st.Pids,
		WritableBytes: st.WritableBytes, WritableInodes: st.WritableInodes, MemoryLimit: st.MemoryLimit,
		PageFaults: st.PageFaults, MajorPageFaults: st.MajorPageFaults,
	}, nil
}
