package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"example.dev/hostdir/internal/handle"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// provisioner makes volumes without touching any disk: the directory comes with the first mount.
type provisioner struct {
	volumes metadata.ResourceInterface
}

// askAgain is how soon a node's answer is looked for.
const askAgain = 2 * time.Second

// Info says who the plugin is and which permissions it asks for.
func (*provisioner) Info() plugin.Info {
	return plugin.Info{
		Name: "hostdir", Version: "0.1.0", Description: "Volumes that are directories of nodes",
		Permissions: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"persistentvolumes"}, Verbs: []string{"get", "patch"}}},
	}
}

// ConfigSchema says that there is nothing to set.
func (*provisioner) ConfigSchema() []byte { return []byte(`{"type":"object"}`) }

// Configure takes no settings.
func (*provisioner) Configure(_ context.Context, settings []byte) error {
	return plugin.DecodeSettings(settings, &struct{}{})
}

// Open is called by the host before all else.
func (p *provisioner) Open(_ context.Context, env plugin.Env) (storage.Services, error) {
	if p.volumes == nil {
		client, err := metadata.NewForConfig(env.Config)
		if err != nil {
			return storage.Services{}, fmt.Errorf("API: %w", err)
		}
		p.volumes = client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"})
	}
	return storage.Services{Driver: handle.Driver, TopologyKeys: []string{handle.TopologyKey}, Provisioner: p, Expander: p}, nil
}

// CreateVolume implements storage.Provisioner. The name of the volume is all that has to be
// remembered, and it is in the handle.
func (*provisioner) CreateVolume(_ context.Context, r storage.CreateVolumeRequest) (*storage.Volume, error) {
	if len(r.Topologies) == 0 {
		return nil, errors.New("a directory has to be on some node: let the StorageClass have volumeBindingMode WaitForFirstConsumer, or allowedTopologies")
	}
	node := r.Topologies[0][handle.TopologyKey]
	return &storage.Volume{
		Handle: handle.Of(node, r.Name), CapacityBytes: r.CapacityBytes,
		Topologies: []storage.Topology{{handle.TopologyKey: node}},
	}, nil
}

// ExpandVolume implements storage.Expander: nobody holds a directory to its size.
func (*provisioner) ExpandVolume(_ context.Context, volume string, _ map[string]string, bytes int64) (int64, error) {
	if _, _, err := handle.Parse(volume); err != nil {
		return 0, fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	}
	return bytes, nil
}

// DeleteVolume implements storage.Provisioner. It asks the node by an annotation of the
// PersistentVolume, and is done when the node has answered in the same way; a node that is away
// keeps the volume's object from going.
func (p *provisioner) DeleteVolume(ctx context.Context, volume string, _ map[string]string) error {
	node, name, err := handle.Parse(volume)
	if err != nil {
		return nil //nolint:nilerr // there can't be one of that name
	}
	pv, err := p.volumes.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("volume %s: %w", name, err)
	case pv.Annotations[handle.Removed] == volume:
		return nil
	case pv.Annotations[handle.Remove] != volume:
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{handle.Remove: volume}}})
		if err != nil {
			return err
		}
		if _, err := p.volumes.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("volume %s: ask node %s to remove it: %w", name, node, err)
		}
	}
	return &storage.RetryError{Reason: "node " + node + " is asked to remove the directory", After: askAgain}
}
