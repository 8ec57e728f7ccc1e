package protection

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Volumes protects PersistentVolumes.
type Volumes struct {
	kit     control.Kit
	loop    *control.Loop
	volumes corelisters.PersistentVolumeLister
	synced  cache.InformerSynced
}

// NewVolumes returns the controller. The informers of kit must not have been started.
func NewVolumes(kit control.Kit) (*Volumes, error) {
	volumes := kit.Informers.Core().V1().PersistentVolumes()
	c := &Volumes{kit: kit, volumes: volumes.Lister()}
	c.loop = control.NewLoop("pvprotection", kit.Log, c.sync)
	seen := func(obj any) {
		if volume := obj.(*v1.PersistentVolume); next(volume, volumeFinalizer) != nothing {
			c.loop.AddObject(volume)
		}
	}
	registration, err := volumes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: seen, UpdateFunc: func(_, obj any) { seen(obj) }})
	if err != nil {
		return nil, fmt.Errorf("watch for the protection of volumes: %w", err)
	}
	c.synced = registration.HasSynced
	return c, nil
}

// Run works until ctx is cancelled.
func (c *Volumes) Run(ctx context.Context) {
	if cache.WaitForCacheSync(ctx.Done(), c.synced) {
		c.loop.Run(ctx, 1)
	}
}

func (c *Volumes) sync(ctx context.Context, name string) error {
	volume, err := c.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	todo := next(volume, volumeFinalizer)
	if todo == nothing || (todo == release && volume.Status.Phase == v1.VolumeBound) {
		return nil
	}
	return write(ctx, volume, volumeFinalizer, todo, func(ctx context.Context, name string, patch []byte) error {
		_, err := c.kit.Client.CoreV1().PersistentVolumes().Patch(ctx, name, patchType, patch, metav1.PatchOptions{})
		return err
	})
}
