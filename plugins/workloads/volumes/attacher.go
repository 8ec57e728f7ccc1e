package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Attacher attaches volumes to the nodes of their pods, where their storage wants that, and keeps
// VolumeAttachments by which the nodes know of it.
type Attacher struct {
	kit         control.Kit
	storages    Storages
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	pods        cache.Indexer
	attachments *control.Lazy
	loop        *control.Loop
	watches     control.Watches
}

// stillInUse is how soon it is looked again whether a node has let a volume go.
const stillInUse = 2 * time.Second

// NewAttacher returns the controller. The informers of kit must not have been started.
func NewAttacher(kit control.Kit, storages Storages) (*Attacher, error) {
	core := kit.Informers.Core().V1()
	pods, claims, volumes := core.Pods(), core.PersistentVolumeClaims(), core.PersistentVolumes()
	a := &Attacher{
		kit: kit, storages: storages, claims: claims.Lister(), volumes: volumes.Lister(), pods: pods.Informer().GetIndexer(),
	}
	a.loop = control.NewLoop("persistentvolume-attacher", kit.Log, a.sync)
	a.attachments = control.NewLazy(kit, func() cache.SharedIndexInformer {
		return kit.Informers.Storage().V1().VolumeAttachments().Informer()
	}, nil, control.Touched(func(obj any) {
		if va, ok := control.Gone[*storagev1.VolumeAttachment](obj); ok && va.Spec.Source.PersistentVolumeName != nil {
			a.loop.Add(attachmentKey(va.Spec.NodeName, *va.Spec.Source.PersistentVolumeName))
		}
	}))
	storages.Changed(a.lookAtAll)
	if err := indexPods(pods.Informer()); err != nil {
		return nil, err
	}
	return a, a.watches.Add("the attachment of volumes", control.Handlers{
		pods.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { a.podSeen(obj.(*v1.Pod)) },
			UpdateFunc: func(old, obj any) {
				if was, p := old.(*v1.Pod), obj.(*v1.Pod); was.Spec.NodeName != p.Spec.NodeName || was.UID != p.UID {
					a.podSeen(was)
					a.podSeen(p)
				}
			},
			DeleteFunc: control.OnGone(a.podSeen),
		},
		claims.Informer(): control.Seen(func(c *v1.PersistentVolumeClaim) {
			if c.Status.Phase != v1.ClaimBound {
				return
			}
			users, err := podsOf(a.pods, c)
			if err != nil {
				return
			}
			for _, p := range users {
				a.podSeen(p)
			}
		}),
		volumes.Informer(): nil,
	})
}

// Run works until ctx is cancelled.
func (a *Attacher) Run(ctx context.Context) {
	a.watches.Run(ctx, func(ctx context.Context) {
		// What was attached before this process began is looked at too, if there are volumes.
		if list, err := a.volumes.List(labels.Everything()); err == nil && slices.ContainsFunc(list, func(pv *v1.PersistentVolume) bool { return pv.Spec.CSI != nil }) {
			if _, err := a.attachments.Indexer(ctx); err != nil && ctx.Err() == nil {
				a.kit.Log.Error("attachments of volumes can't be watched", "error", err)
			}
		}
		a.loop.Run(ctx, operations)
	})
}

// attachmentKey is a key of the loop: a volume at a node.
func attachmentKey(node, volume string) string { return node + "/" + volume }

// podSeen looks at the volumes of a pod at its node.
func (a *Attacher) podSeen(p *v1.Pod) {
	if p.Spec.NodeName == "" || len(p.Spec.Volumes) == 0 {
		return
	}
	for i := range p.Spec.Volumes {
		name := claimOf(p, &p.Spec.Volumes[i])
		if name == "" {
			continue
		}
		if c, err := a.claims.PersistentVolumeClaims(p.Namespace).Get(name); err == nil && c.Spec.VolumeName != "" {
			a.loop.Add(attachmentKey(p.Spec.NodeName, c.Spec.VolumeName))
		}
	}
}

// lookAtAll looks at all pods with claims: a storage has come.
func (a *Attacher) lookAtAll() {
	for _, key := range a.pods.ListIndexFuncValues(byClaim) {
		users, err := control.Indexed[*v1.Pod](a.pods, byClaim, key)
		if err != nil {
			return
		}
		for _, p := range users {
			a.podSeen(p)
		}
	}
}

func (a *Attacher) sync(ctx context.Context, key string) error {
	node, name, _ := strings.Cut(key, "/")
	pv, found, err := control.Found(a.volumes.Get(name))
	if err != nil || !found || pv.Spec.CSI == nil {
		return err
	}
	services, err := a.storages.Find(ctx, pv.Spec.CSI.Driver)
	switch {
	case errors.Is(err, ErrNoStorage), err == nil && services.Attacher == nil:
		return nil
	case err != nil:
		return err
	}
	if _, err := a.attachments.Indexer(ctx); err != nil {
		return err
	}
	api := a.kit.Client.StorageV1().VolumeAttachments()
	id := storage.AttachmentName(pv.Spec.CSI.Driver, pv.Spec.CSI.VolumeHandle, node)
	va, there, err := control.Found(api.Get(ctx, id, metav1.GetOptions{}))
	if err != nil {
		return fmt.Errorf("attachment of volume %s at node %s: %w", name, node, err)
	}
	wanted, err := a.wanted(pv, node)
	switch {
	case err != nil:
		return err
	case wanted && there && va.DeletionTimestamp != nil:
		return nil // it comes again when it is gone
	case wanted:
		return a.attach(ctx, pv, node, va, there, services)
	case there:
		return a.detach(ctx, pv, node, va, services)
	}
	return nil
}

// wanted reports whether a pod on a node uses a volume. One that has ended still does, until it is
// deleted: only then it is certain that its node has unmounted it.
func (a *Attacher) wanted(pv *v1.PersistentVolume, node string) (bool, error) {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return false, nil
	}
	users, err := control.Indexed[*v1.Pod](a.pods, byClaim, ref.Namespace+"/"+ref.Name)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(users, func(p *v1.Pod) bool { return p.Spec.NodeName == node }), nil
}

func (a *Attacher) attach(ctx context.Context, pv *v1.PersistentVolume, node string, va *storagev1.VolumeAttachment, there bool, services storage.Services) error {
	api := a.kit.Client.StorageV1().VolumeAttachments()
	if !there {
		name := pv.Name
		var err error
		va, err = api.Create(ctx, &storagev1.VolumeAttachment{
			ObjectMeta: metav1.ObjectMeta{Name: storage.AttachmentName(pv.Spec.CSI.Driver, pv.Spec.CSI.VolumeHandle, node)},
			Spec: storagev1.VolumeAttachmentSpec{
				Attacher: pv.Spec.CSI.Driver, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &name},
			},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		} else if err != nil {
			return fmt.Errorf("attach volume %s to node %s: %w", pv.Name, node, err)
		}
	}
	if va.Status.Attached {
		return nil
	}
	published, err := services.Attacher.AttachVolume(ctx, storage.AttachVolumeRequest{
		Handle: pv.Spec.CSI.VolumeHandle, Context: pv.Spec.CSI.VolumeAttributes, Node: node, ReadOnly: pv.Spec.CSI.ReadOnly,
		Capability: capabilityOfVolume(pv),
	})
	changed := va.DeepCopy()
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		changed.Status.AttachError = &storagev1.VolumeError{Time: metav1.Now(), Message: err.Error()}
	} else {
		changed.Status = storagev1.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: published}
	}
	return a.write(ctx, pv, node, changed, err)
}

// detach undoes an attachment when the node no longer has the volume.
func (a *Attacher) detach(ctx context.Context, pv *v1.PersistentVolume, node string, va *storagev1.VolumeAttachment, services storage.Services) error {
	at, found, err := control.Found(a.kit.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}))
	if err != nil {
		return fmt.Errorf("node of volume %s: %w", pv.Name, err)
	}
	unique := v1.UniqueVolumeName("kubernetes.io/csi/" + pv.Spec.CSI.Driver + "^" + pv.Spec.CSI.VolumeHandle)
	if found && slices.Contains(at.Status.VolumesInUse, unique) {
		a.loop.AddAfter(attachmentKey(node, pv.Name), stillInUse)
		return nil
	}
	if err := services.Attacher.DetachVolume(ctx, pv.Spec.CSI.VolumeHandle, node); err != nil && !errors.Is(err, storage.ErrNotFound) {
		if ctx.Err() != nil {
			return err
		}
		changed := va.DeepCopy()
		changed.Status.DetachError = &storagev1.VolumeError{Time: metav1.Now(), Message: err.Error()}
		return a.write(ctx, pv, node, changed, err)
	}
	err = a.kit.Client.StorageV1().VolumeAttachments().Delete(ctx, va.Name, metav1.DeleteOptions{})
	if _, _, err := control.Found(va, err); err != nil {
		return fmt.Errorf("detach volume %s from node %s: %w", pv.Name, node, err)
	}
	return nil
}

// write writes the outcome of a call, which err is, and says when the next is due.
func (a *Attacher) write(ctx context.Context, pv *v1.PersistentVolume, node string, va *storagev1.VolumeAttachment, outcome error) error {
	_, err := a.kit.Client.StorageV1().VolumeAttachments().UpdateStatus(ctx, va, metav1.UpdateOptions{})
	var retry *storage.RetryError
	switch {
	case err != nil:
		return fmt.Errorf("attachment of volume %s at node %s: write its status: %w", pv.Name, node, err)
	case errors.As(outcome, &retry):
		a.loop.AddAfter(attachmentKey(node, pv.Name), retry.After)
		return nil
	case outcome != nil:
		return fmt.Errorf("volume %s at node %s: %w", pv.Name, node, outcome)
	}
	return nil
}

func capabilityOfVolume(pv *v1.PersistentVolume) storage.Capability {
	c := storage.Capability{AccessModes: pv.Spec.AccessModes, VolumeMode: v1.PersistentVolumeFilesystem, FSType: pv.Spec.CSI.FSType, MountOptions: pv.Spec.MountOptions}
	if pv.Spec.VolumeMode != nil {
		c.VolumeMode = *pv.Spec.VolumeMode
	}
	return c
}
