package protection

import (
	"context"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Volumes protects PersistentVolumes.
type Volumes struct {
	kit     control.Kit
	loop    *control.Loop
	volumes corelisters.PersistentVolumeLister
	watches control.Watches
}

// NewVolumes returns the controller. The informers of kit must not have been started.
func NewVolumes(kit control.Kit) (*Volumes, error) {
	volumes := kit.Informers.Core().V1().PersistentVolumes()
	c := &Volumes{kit: kit, volumes: volumes.Lister()}
	c.loop = control.NewLoop("pvprotection", kit.Log, c.sync)
	return c, c.watches.Add("the protection of volumes", control.Handlers{
		volumes.Informer(): control.Seen(func(volume *v1.PersistentVolume) {
			if next(volume, volumeFinalizer) != nothing {
				c.loop.AddObject(volume)
			}
		}),
	})
}

// Run works until ctx is cancelled.
func (c *Volumes) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

func (c *Volumes) sync(ctx context.Context, name string) error {
	volume, found, err := control.Found(c.volumes.Get(name))
	if !found {
		return err
	}
	needed := next(volume, volumeFinalizer)
	if needed == nothing || (needed == release && volume.Status.Phase == v1.VolumeBound) {
		return nil
	}
	return write(ctx, volume, volumeFinalizer, needed, func(ctx context.Context, name string, patch []byte) error {
		_, err := c.kit.Client.CoreV1().PersistentVolumes().Patch(ctx, name, patchType, patch, metav1.PatchOptions{})
		return err
	})
}
