package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"example.dev/hostdir/internal/handle"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// tryAgain is how soon a removal that failed is tried again.
const tryAgain = time.Minute

var persistentVolumes = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}

// followRemovals removes directories, until ctx is done, whose removal the other half asks for.
func (m *mounter) followRemovals(ctx context.Context, env plugin.Env) error {
	client, err := metadata.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("API: %w", err)
	}
	return m.follow(ctx, client, env.Log)
}

func (m *mounter) follow(ctx context.Context, client metadata.Interface, log *slog.Logger) error {
	informer := metadatainformer.NewFilteredMetadataInformer(client, persistentVolumes, "", tryAgain, cache.Indexers{}, nil).Informer()
	seen := func(obj any) {
		pv, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok || pv.Annotations[handle.Remove] == "" || pv.Annotations[handle.Removed] == pv.Annotations[handle.Remove] {
			return
		}
		if err := m.remove(ctx, client, pv); err != nil && ctx.Err() == nil {
			log.Warn("a directory could not be removed", "volume", pv.Name, "error", err)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: seen, UpdateFunc: func(_, obj any) { seen(obj) },
	})
	if err != nil {
		return fmt.Errorf("watch volumes: %w", err)
	}
	go informer.RunWithContext(ctx)
	return nil
}

// remove removes the directory of a volume, if it is on this node, and says so.
func (m *mounter) remove(ctx context.Context, client metadata.Interface, pv *metav1.PartialObjectMetadata) error {
	volume := pv.Annotations[handle.Remove]
	name, err := m.name(volume)
	if err != nil {
		return nil //nolint:nilerr // another node's
	}
	if name != pv.Name {
		return fmt.Errorf("it asks for the removal of %s, which is another volume's", volume)
	}
	m.mu.Lock()
	err = m.root.RemoveAll(name)
	m.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{handle.Removed: volume}}})
	if err != nil {
		return err
	}
	_, err = client.Resource(persistentVolumes).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
