package storage

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/internal/opened"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Point offers impl as a storage.
func Point(impl Storage) plugin.Point {
	return protocol.NewPoint(protocol.PointStorage, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterStorageServer(s, &server{impl: impl, host: h})
	})
}

type server struct {
	pluginv1.UnimplementedStorageServer
	impl Storage
	host plugin.Host
	open opened.Slot[Services]
}

// Open implements pluginv1.StorageServer.
func (s *server) Open(r *pluginv1.OpenStorageRequest, stream grpc.ServerStreamingServer[pluginv1.StorageServices]) error {
	return s.open.Hold(stream.Context(), func(ctx context.Context) (Services, error) {
		env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
		if err != nil {
			return Services{}, status.Error(codes.InvalidArgument, err.Error())
		}
		services, err := s.impl.Open(ctx, env)
		if err != nil {
			return Services{}, protocol.PluginError(err)
		}
		if services.Driver == "" {
			return Services{}, status.Error(codes.Aborted, "the storage has no name: Services.Driver is empty")
		}
		return services, nil
	}, func(services Services) error { return stream.Send(servicesToWire(services)) })
}

// services returns what is open. FAILED_PRECONDITION has a meaning of its own here.
func (s *server) services() (Services, error) {
	services, err := s.open.Get()
	if err != nil {
		return Services{}, status.Error(codes.Unavailable, status.Convert(err).Message())
	}
	return services, nil
}

// Services implements pluginv1.StorageServer.
func (s *server) Services(context.Context, *pluginv1.StorageServicesRequest) (*pluginv1.StorageServices, error) {
	services, err := s.services()
	if err != nil {
		return nil, err
	}
	return servicesToWire(services), nil
}

// call asks one of the services, where there is it, and converts the error.
func call[S, A any](s *server, which func(Services) (S, bool), what string, ask func(S) (A, error)) (A, error) {
	var none A
	services, err := s.services()
	if err != nil {
		return none, err
	}
	service, ok := which(services)
	if !ok {
		return none, status.Error(codes.Unimplemented, "the storage has no "+what)
	}
	answer, err := ask(service)
	if err != nil {
		return none, errorToWire(err)
	}
	return answer, nil
}

func provisioner(s Services) (Provisioner, bool) { return s.Provisioner, s.Provisioner != nil }
func expander(s Services) (Expander, bool)       { return s.Expander, s.Expander != nil }
func attacher(s Services) (Attacher, bool)       { return s.Attacher, s.Attacher != nil }
func mounter(s Services) (Mounter, bool)         { return s.Mounter, s.Mounter != nil }
func statsReader(s Services) (StatsReader, bool) { return s.StatsReader, s.StatsReader != nil }

// CreateVolume implements pluginv1.StorageServer.
func (s *server) CreateVolume(ctx context.Context, r *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	return call(s, provisioner, "provisioner", func(p Provisioner) (*pluginv1.CreateVolumeResponse, error) {
		v, err := p.CreateVolume(ctx, CreateVolumeRequest{
			Name: r.GetName(), CapacityBytes: r.GetCapacityBytes(), Capability: capabilityFromWire(r.GetCapability()),
			Parameters: r.GetParameters(), Topologies: topologiesFromWire(r.GetTopologies()), SelectedNode: r.GetSelectedNode(),
			Claim: Claim{Namespace: r.GetClaimNamespace(), Name: r.GetClaimName(), UID: r.GetClaimUid()},
		})
		if err != nil || v == nil {
			return &pluginv1.CreateVolumeResponse{}, err
		}
		return &pluginv1.CreateVolumeResponse{Volume: &pluginv1.Volume{
			Handle: v.Handle, CapacityBytes: v.CapacityBytes, Context: v.Context, Topologies: TopologiesToWire(v.Topologies),
		}}, nil
	})
}

// DeleteVolume implements pluginv1.StorageServer.
func (s *server) DeleteVolume(ctx context.Context, r *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	return call(s, provisioner, "provisioner", func(p Provisioner) (*pluginv1.DeleteVolumeResponse, error) {
		return &pluginv1.DeleteVolumeResponse{}, p.DeleteVolume(ctx, r.GetHandle(), r.GetContext())
	})
}

// ExpandVolume implements pluginv1.StorageServer.
func (s *server) ExpandVolume(ctx context.Context, r *pluginv1.ExpandVolumeRequest) (*pluginv1.ExpandVolumeResponse, error) {
	return call(s, expander, "expander", func(e Expander) (*pluginv1.ExpandVolumeResponse, error) {
		size, err := e.ExpandVolume(ctx, r.GetHandle(), r.GetContext(), r.GetCapacityBytes())
		return &pluginv1.ExpandVolumeResponse{CapacityBytes: size}, err
	})
}

// AttachVolume implements pluginv1.StorageServer.
func (s *server) AttachVolume(ctx context.Context, r *pluginv1.AttachVolumeRequest) (*pluginv1.AttachVolumeResponse, error) {
	return call(s, attacher, "attacher", func(a Attacher) (*pluginv1.AttachVolumeResponse, error) {
		published, err := a.AttachVolume(ctx, AttachVolumeRequest{
			Handle: r.GetHandle(), Context: r.GetContext(), Node: r.GetNode(), ReadOnly: r.GetReadOnly(),
			Capability: capabilityFromWire(r.GetCapability()),
		})
		return &pluginv1.AttachVolumeResponse{PublishContext: published}, err
	})
}

// DetachVolume implements pluginv1.StorageServer.
func (s *server) DetachVolume(ctx context.Context, r *pluginv1.DetachVolumeRequest) (*pluginv1.DetachVolumeResponse, error) {
	return call(s, attacher, "attacher", func(a Attacher) (*pluginv1.DetachVolumeResponse, error) {
		return &pluginv1.DetachVolumeResponse{}, a.DetachVolume(ctx, r.GetHandle(), r.GetNode())
	})
}

// MountVolume implements pluginv1.StorageServer.
func (s *server) MountVolume(ctx context.Context, r *pluginv1.MountVolumeRequest) (*pluginv1.MountVolumeResponse, error) {
	return call(s, mounter, "mounter", func(m Mounter) (*pluginv1.MountVolumeResponse, error) {
		return &pluginv1.MountVolumeResponse{}, m.MountVolume(ctx, MountVolumeRequest{
			Handle: r.GetHandle(), Context: r.GetContext(), PublishContext: r.GetPublishContext(), TargetPath: r.GetTargetPath(),
			ReadOnly: r.GetReadOnly(), Capability: capabilityFromWire(r.GetCapability()),
			Pod: Pod{Namespace: r.GetPodNamespace(), Name: r.GetPodName(), UID: r.GetPodUid(), ServiceAccount: r.GetPodServiceAccount()},
		})
	})
}

// UnmountVolume implements pluginv1.StorageServer.
func (s *server) UnmountVolume(ctx context.Context, r *pluginv1.UnmountVolumeRequest) (*pluginv1.UnmountVolumeResponse, error) {
	return call(s, mounter, "mounter", func(m Mounter) (*pluginv1.UnmountVolumeResponse, error) {
		return &pluginv1.UnmountVolumeResponse{}, m.UnmountVolume(ctx, r.GetHandle(), r.GetTargetPath())
	})
}

// VolumeStats implements pluginv1.StorageServer.
func (s *server) VolumeStats(ctx context.Context, r *pluginv1.VolumeStatsRequest) (*pluginv1.VolumeStatsResponse, error) {
	return call(s, statsReader, "stats", func(sr StatsReader) (*pluginv1.VolumeStatsResponse, error) {
		st, err := sr.VolumeStats(ctx, r.GetHandle(), r.GetTargetPath())
		return &pluginv1.VolumeStatsResponse{
			CapacityBytes: st.CapacityBytes, UsedBytes: st.UsedBytes, AvailableBytes: st.AvailableBytes,
			Inodes: st.Inodes, InodesUsed: st.InodesUsed, InodesFree: st.InodesFree,
		}, err
	})
}
