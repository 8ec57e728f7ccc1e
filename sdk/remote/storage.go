package remote

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Storage is a storage on the other end of a connection.
type Storage struct {
	c      *Client
	client pluginv1.StorageClient
}

// Storage returns the plugin as a storage, where it is one.
func (c *Client) Storage() (*Storage, bool) {
	return &Storage{c: c, client: pluginv1.NewStorageClient(c.conn)}, c.offers(protocol.PointStorage)
}

// Open opens the storage until ctx is done. gone is closed when it no longer is.
func (p *Storage) Open(ctx context.Context) (services storage.Services, gone <-chan struct{}, err error) {
	env, err := p.c.environment()
	if err != nil {
		return services, nil, err
	}
	stream, err := p.client.Open(ctx, &pluginv1.OpenStorageRequest{Environment: env})
	if err != nil {
		return services, nil, unwire(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return services, nil, opening(err)
	}
	return storageServices(p.client, first), ended(stream.Recv), nil
}

// StorageServices returns what a storage offers that its host has opened, over a connection to
// it such as one of package peers.
func StorageServices(ctx context.Context, conn grpc.ClientConnInterface) (storage.Services, error) {
	client := pluginv1.NewStorageClient(conn)
	r, err := client.Services(ctx, &pluginv1.StorageServicesRequest{})
	if err != nil {
		return storage.Services{}, unwire(err)
	}
	return storageServices(client, r), nil
}

func storageServices(client pluginv1.StorageClient, r *pluginv1.StorageServices) storage.Services {
	out := storage.Services{Driver: r.GetDriver(), TopologyKeys: r.GetTopologyKeys()}
	far := remoteVolumes{client}
	if r.GetProvisioner() {
		out.Provisioner = far
	}
	if r.GetExpander() {
		out.Expander = far
	}
	if r.GetAttacher() {
		out.Attacher = far
	}
	if r.GetMounter() {
		out.Mounter = far
	}
	if r.GetStats() {
		out.StatsReader = far
	}
	return out
}

// storageError returns a storage's error as it meant it.
func storageError(err error) error {
	if err == nil {
		return nil
	}
	if meant := storage.ErrorFromWire(err); meant != nil {
		return meant
	}
	return unwire(err)
}

// remoteVolumes are all services of a storage.
type remoteVolumes struct{ client pluginv1.StorageClient }

// CreateVolume implements storage.Provisioner.
func (v remoteVolumes) CreateVolume(ctx context.Context, r storage.CreateVolumeRequest) (*storage.Volume, error) {
	answer, err := v.client.CreateVolume(ctx, &pluginv1.CreateVolumeRequest{
		Name: r.Name, CapacityBytes: r.CapacityBytes, Capability: storage.CapabilityToWire(r.Capability), Parameters: r.Parameters,
		Topologies: storage.TopologiesToWire(r.Topologies), SelectedNode: r.SelectedNode,
		ClaimNamespace: r.Claim.Namespace, ClaimName: r.Claim.Name, ClaimUid: r.Claim.UID,
	})
	if err != nil {
		return nil, storageError(err)
	}
	made, err := storage.VolumeFromWire(answer.GetVolume())
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", r.Name, err)
	}
	return made, nil
}

// DeleteVolume implements storage.Provisioner.
func (v remoteVolumes) DeleteVolume(ctx context.Context, handle string, volumeContext map[string]string) error {
	_, err := v.client.DeleteVolume(ctx, &pluginv1.DeleteVolumeRequest{Handle: handle, Context: volumeContext})
	return storageError(err)
}

// ExpandVolume implements storage.Expander.
func (v remoteVolumes) ExpandVolume(ctx context.Context, handle string, volumeContext map[string]string, capacityBytes int64) (int64, error) {
	r, err := v.client.ExpandVolume(ctx, &pluginv1.ExpandVolumeRequest{Handle: handle, Context: volumeContext, CapacityBytes: capacityBytes})
	return r.GetCapacityBytes(), storageError(err)
}

// AttachVolume implements storage.Attacher.
func (v remoteVolumes) AttachVolume(ctx context.Context, r storage.AttachVolumeRequest) (map[string]string, error) {
	answer, err := v.client.AttachVolume(ctx, &pluginv1.AttachVolumeRequest{
		Handle: r.Handle, Context: r.Context, Node: r.Node, ReadOnly: r.ReadOnly, Capability: storage.CapabilityToWire(r.Capability),
	})
	return answer.GetPublishContext(), storageError(err)
}

// DetachVolume implements storage.Attacher.
func (v remoteVolumes) DetachVolume(ctx context.Context, handle, node string) error {
	_, err := v.client.DetachVolume(ctx, &pluginv1.DetachVolumeRequest{Handle: handle, Node: node})
	return storageError(err)
}

// MountVolume implements storage.Mounter.
func (v remoteVolumes) MountVolume(ctx context.Context, r storage.MountVolumeRequest) error {
	_, err := v.client.MountVolume(ctx, &pluginv1.MountVolumeRequest{
		Handle: r.Handle, Context: r.Context, PublishContext: r.PublishContext, TargetPath: r.TargetPath, ReadOnly: r.ReadOnly,
		Capability:   storage.CapabilityToWire(r.Capability),
		PodNamespace: r.Pod.Namespace, PodName: r.Pod.Name, PodUid: r.Pod.UID, PodServiceAccount: r.Pod.ServiceAccount,
	})
	return storageError(err)
}

// UnmountVolume implements storage.Mounter.
func (v remoteVolumes) UnmountVolume(ctx context.Context, handle, targetPath string) error {
	_, err := v.client.UnmountVolume(ctx, &pluginv1.UnmountVolumeRequest{Handle: handle, TargetPath: targetPath})
	return storageError(err)
}

// VolumeStats implements storage.StatsReader.
func (v remoteVolumes) VolumeStats(ctx context.Context, handle, targetPath string) (storage.Stats, error) {
	r, err := v.client.VolumeStats(ctx, &pluginv1.VolumeStatsRequest{Handle: handle, TargetPath: targetPath})
	return storage.Stats{
		CapacityBytes: r.GetCapacityBytes(), UsedBytes: r.GetUsedBytes(), AvailableBytes: r.GetAvailableBytes(),
		Inodes: r.GetInodes(), InodesUsed: r.GetInodesUsed(), InodesFree: r.GetInodesFree(),
	}, storageError(err)
}
