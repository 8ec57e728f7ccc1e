package volumes

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// bind binds a volume and a claim to each other, in four steps that each do nothing where it was
// done before: what is left undone, the next look finishes. The volume comes first, as of two
// claims that are after it one write loses.
func (b *Binder) bind(ctx context.Context, pv *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) error {
	changed, dirty, err := volume.GetBindVolumeToClaim(pv, claim)
	if err != nil {
		return fmt.Errorf("bind volume %s: %w", pv.Name, err)
	}
	if dirty {
		if pv, err = b.kit.Client.CoreV1().PersistentVolumes().Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("bind volume %s to claim %s: %w", changed.Name, control.KeyOf(claim), err)
		}
	}
	if pv, err = b.writeVolumePhase(ctx, pv, v1.VolumeBound, ""); err != nil {
		return err
	}
	if claim, err = b.point(ctx, claim, pv); err != nil {
		return err
	}
	_, err = b.writePhase(ctx, claim, v1.ClaimBound, pv)
	return err
}

// point writes into a claim which volume it has.
func (b *Binder) point(ctx context.Context, claim *v1.PersistentVolumeClaim, pv *v1.PersistentVolume) (*v1.PersistentVolumeClaim, error) {
	changed := claim.DeepCopy()
	if claim.Spec.VolumeName != pv.Name {
		changed.Spec.VolumeName = pv.Name
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, volume.AnnBoundByController, "yes")
	} else if metav1.HasAnnotation(claim.ObjectMeta, volume.AnnBindCompleted) {
		return claim, nil
	}
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, volume.AnnBindCompleted, "yes")
	written, err := b.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("bind claim %s to volume %s: %w", control.KeyOf(claim), pv.Name, err)
	}
	return written, nil
}

func (b *Binder) updateClaim(ctx context.Context, claim *v1.PersistentVolumeClaim, what string) error {
	if _, err := b.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("claim %s: %s: %w", control.KeyOf(claim), what, err)
	}
	return nil
}

// preResize is written by who makes a volume larger: the size that the claim's file system still
// has.
const preResize = "volume.alpha.kubernetes.io/pre-resize-capacity"

// writePhase writes a claim's phase, and what it has of its volume, nil where it has none.
func (b *Binder) writePhase(ctx context.Context, claim *v1.PersistentVolumeClaim, phase v1.PersistentVolumeClaimPhase, pv *v1.PersistentVolume) (*v1.PersistentVolumeClaim, error) {
	changed := claim.DeepCopy()
	st := &changed.Status
	dirty := st.Phase != phase
	st.Phase = phase
	if pv == nil {
		dirty = dirty || st.AccessModes != nil || st.Capacity != nil || st.CurrentVolumeAttributesClassName != nil
		st.AccessModes, st.Capacity, st.CurrentVolumeAttributesClassName = nil, nil, nil
	} else {
		if !slices.Equal(st.AccessModes, pv.Spec.AccessModes) {
			st.AccessModes, dirty = pv.Spec.AccessModes, true
		}
		if claim.Status.Phase != phase { // later it is the affair of who makes it larger
			size, ok := pv.Spec.Capacity[v1.ResourceStorage]
			if !ok {
				return nil, fmt.Errorf("PersistentVolume %q is without a storage capacity", pv.Name)
			}
			st.Capacity = pv.Spec.Capacity.DeepCopy()
			if before, err := parseQuantity(pv.Annotations[preResize]); err == nil && before.Cmp(size) < 0 {
				st.Capacity[v1.ResourceStorage] = before
			}
			if claim.Status.Phase != v1.ClaimBound {
				st.CurrentVolumeAttributesClassName = pv.Spec.VolumeAttributesClassName
			}
		}
	}
	if !dirty {
		return claim, nil
	}
	written, err := b.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("claim %s: write its status: %w", control.KeyOf(claim), err)
	}
	return written, nil
}

// writeVolumePhase writes a volume's phase.
func (b *Binder) writeVolumePhase(ctx context.Context, pv *v1.PersistentVolume, phase v1.PersistentVolumePhase, message string) (*v1.PersistentVolume, error) {
	if pv.Status.Phase == phase {
		return pv, nil
	}
	changed := pv.DeepCopy()
	changed.Status.Phase, changed.Status.Message = phase, message
	now := metav1.Now()
	changed.Status.LastPhaseTransitionTime = &now
	written, err := b.kit.Client.CoreV1().PersistentVolumes().UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("volume %s: write its status: %w", pv.Name, err)
	}
	return written, nil
}

// unbind takes back the binding of a volume whose claim has another.
func (b *Binder) unbind(ctx context.Context, pv *v1.PersistentVolume) error {
	changed := pv.DeepCopy()
	if metav1.HasAnnotation(pv.ObjectMeta, volume.AnnBoundByController) {
		changed.Spec.ClaimRef = nil
		delete(changed.Annotations, volume.AnnBoundByController)
	} else { // somebody has reserved it by name
		changed.Spec.ClaimRef.UID = ""
		changed.Spec.ClaimRef.ResourceVersion = ""
	}
	written, err := b.kit.Client.CoreV1().PersistentVolumes().Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("volume %s: take its binding back: %w", pv.Name, err)
	}
	_, err = b.writeVolumePhase(ctx, written, v1.VolumeAvailable, "")
	return err
}
