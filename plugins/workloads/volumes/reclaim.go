package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// deletionFinalizer keeps a volume that a storage has made from going before what it stands for.
const deletionFinalizer = "external-provisioner.volume.kubernetes.io/finalizer"

// syncVolume brings a volume's phase to what its claim says.
func (b *Binder) syncVolume(ctx context.Context, pv *v1.PersistentVolume) error {
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.UID == "" {
		if pv.DeletionTimestamp != nil && ref == nil {
			return b.reclaim(ctx, pv)
		}
		_, err := b.writeVolumePhase(ctx, pv, v1.VolumeAvailable, "")
		return err
	}
	claim, err := b.claimOf(ctx, ref)
	switch {
	case err != nil:
		return err
	case claim == nil:
		return b.release(ctx, pv)
	case claim.Spec.VolumeName == "":
		if volume.CheckVolumeModeMismatches(&claim.Spec, &pv.Spec) {
			b.events.Event(pv, v1.EventTypeWarning, volumeMismatch, fmt.Sprintf("Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", claim.Name))
			b.events.Event(claim, v1.EventTypeWarning, volumeMismatch, fmt.Sprintf("Cannot bind PersistentVolume %q to requested PersistentVolumeClaim due to incompatible volumeMode.", pv.Name))
			return nil
		}
		b.decisions.Add(claimKind + control.KeyOf(claim))
		return nil
	case claim.Spec.VolumeName == pv.Name:
		_, err := b.writeVolumePhase(ctx, pv, v1.VolumeBound, "")
		return err
	case metav1.HasAnnotation(pv.ObjectMeta, volume.AnnDynamicallyProvisioned) && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete:
		return b.release(ctx, pv) // it was made for a claim that has got another
	}
	return b.unbind(ctx, pv)
}

// claimOf returns the claim that a volume refers to, nil where that is gone: what the cache does
// not show, or shows with another UID, the API server is asked for.
func (b *Binder) claimOf(ctx context.Context, ref *v1.ObjectReference) (*v1.PersistentVolumeClaim, error) {
	claim, found, err := control.Found(b.claims.PersistentVolumeClaims(ref.Namespace).Get(ref.Name))
	if err != nil {
		return nil, err
	}
	if !found || claim.UID != ref.UID {
		claim, found, err = control.Found(b.kit.Client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{}))
		if err != nil {
			return nil, fmt.Errorf("claim %s/%s: %w", ref.Namespace, ref.Name, err)
		}
	}
	if !found || claim.UID != ref.UID {
		return nil, nil //nolint:nilnil // there is none
	}
	return claim, nil
}

// release says that a volume's claim is gone, and does with the volume what its policy wants.
func (b *Binder) release(ctx context.Context, pv *v1.PersistentVolume) error {
	if pv.Status.Phase != v1.VolumeReleased && pv.Status.Phase != v1.VolumeFailed {
		var err error
		if pv, err = b.writeVolumePhase(ctx, pv, v1.VolumeReleased, ""); err != nil {
			return err
		}
	}
	return b.reclaim(ctx, pv)
}

func (b *Binder) reclaim(ctx context.Context, pv *v1.PersistentVolume) error {
	if pv.Annotations[volume.AnnMigratedTo] != "" {
		return nil
	}
	switch pv.Spec.PersistentVolumeReclaimPolicy {
	case v1.PersistentVolumeReclaimRetain, "":
		if pv.DeletionTimestamp != nil && slices.Contains(pv.Finalizers, deletionFinalizer) {
			return b.letGo(ctx, pv) // its data stays
		}
	case v1.PersistentVolumeReclaimDelete:
		b.calls.Add(volumeKind + pv.Name)
	case v1.PersistentVolumeReclaimRecycle:
		return b.fail(ctx, pv, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
	default:
		return b.fail(ctx, pv, "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy")
	}
	return nil
}

// fail writes that a volume could not be reclaimed, and says why, once.
func (b *Binder) fail(ctx context.Context, pv *v1.PersistentVolume, reason, message string) error {
	if pv.Status.Phase == v1.VolumeFailed {
		return nil
	}
	now, err := b.writeVolumePhase(ctx, pv, v1.VolumeFailed, message)
	if err != nil {
		return err
	}
	b.events.Event(now, v1.EventTypeWarning, reason, message)
	return nil
}

// remove has a released volume removed by its storage, and then removes the object.
func (b *Binder) remove(ctx context.Context, pv *v1.PersistentVolume) error {
	// Data is not given up on the word of a cache.
	pv, found, err := control.Found(b.kit.Client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{}))
	if !found {
		return err
	}
	ref := pv.Spec.ClaimRef
	released := ref == nil && pv.DeletionTimestamp != nil
	if ref != nil && ref.UID != "" {
		claim, found, err := control.Found(b.kit.Client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{}))
		if err != nil {
			return fmt.Errorf("claim of volume %s: %w", pv.Name, err)
		}
		released = !found || claim.UID != ref.UID || claim.Spec.VolumeName != "" && claim.Spec.VolumeName != pv.Name
	}
	if !released || pv.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
		return nil
	}
	driver := pv.Annotations[volume.AnnDynamicallyProvisioned]
	if pv.Spec.CSI == nil || driver != "" && driver != pv.Spec.CSI.Driver {
		if driver == "" {
			return b.fail(ctx, pv, volumeFailedDelete, fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", pv.Name))
		}
		return nil // whoever has made it removes it
	}
	services, err := b.storages.Find(ctx, pv.Spec.CSI.Driver)
	switch {
	case errors.Is(err, ErrNoStorage):
		return nil // somebody else's
	case err != nil:
		return err
	case services.Provisioner == nil:
		return b.fail(ctx, pv, volumeFailedDelete, fmt.Sprintf("storage %s does not make or remove volumes", pv.Spec.CSI.Driver))
	}
	if services.Attacher != nil {
		attached, err := b.attached(ctx, pv.Name)
		if err != nil {
			return err
		}
		if attached {
			b.calls.AddAfter(volumeKind+pv.Name, stillInUse)
			return nil
		}
	}
	err = services.Provisioner.DeleteVolume(ctx, pv.Spec.CSI.VolumeHandle, pv.Spec.CSI.VolumeAttributes)
	var retry *storage.RetryError
	switch {
	case errors.As(err, &retry):
		b.calls.AddAfter(volumeKind+pv.Name, retry.After)
		return nil
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		if ctx.Err() != nil {
			return err
		}
		return errors.Join(b.fail(ctx, pv, volumeFailedDelete, err.Error()), fmt.Errorf("volume %s: %w", pv.Name, err))
	}
	uid := pv.UID
	err = b.kit.Client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if _, _, err := control.Found(pv, err); err != nil {
		return fmt.Errorf("volume %s: delete it: %w", pv.Name, err)
	}
	return b.letGo(ctx, pv)
}

// attached reports whether a volume is attached to a node, or was and may still be.
func (b *Binder) attached(ctx context.Context, name string) (bool, error) {
	list, err := b.kit.Client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, fmt.Errorf("attachments of volume %s: %w", name, err)
	}
	return slices.ContainsFunc(list.Items, func(va storagev1.VolumeAttachment) bool {
		return va.Spec.Source.PersistentVolumeName != nil && *va.Spec.Source.PersistentVolumeName == name
	}), nil
}

// letGo takes off the finalizer of a volume that its storage has removed.
func (b *Binder) letGo(ctx context.Context, pv *v1.PersistentVolume) error {
	pv, found, err := control.Found(b.kit.Client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{}))
	if !found || !slices.Contains(pv.Finalizers, deletionFinalizer) {
		return err
	}
	pv.Finalizers = slices.DeleteFunc(pv.Finalizers, func(f string) bool { return f == deletionFinalizer })
	if _, _, err := control.Found(b.kit.Client.CoreV1().PersistentVolumes().Update(ctx, pv, metav1.UpdateOptions{})); err != nil {
		return fmt.Errorf("volume %s: take its finalizer off: %w", pv.Name, err)
	}
	return nil
}
