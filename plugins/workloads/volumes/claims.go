package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Reasons of events.
const (
	failedBinding        = "FailedBinding"
	volumeMismatch       = "VolumeMismatch"
	volumeFailedDelete   = "VolumeFailedDelete"
	externalProvisioning = "ExternalProvisioning"
	provisioning         = "Provisioning"
	provisioningFailed   = "ProvisioningFailed"
	provisioned          = "ProvisioningSucceeded"
	waitForFirstConsumer = "WaitForFirstConsumer"
	waitForPodScheduled  = "WaitForPodScheduled"
)

// noProvisioner is the provisioner of classes whose volumes are all made by hand.
const noProvisioner = "kubernetes.io/no-provisioner"

// syncUnbound looks for a volume for a claim that has none.
func (b *Binder) syncUnbound(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" {
		return b.syncRequested(ctx, claim)
	}
	if claim.DeletionTimestamp != nil {
		return nil
	}
	classes, err := b.classLister(ctx)
	if err != nil {
		return err
	}
	delayed, err := volume.IsDelayBindingMode(claim, classes)
	if err != nil {
		return fmt.Errorf("claim %s: %w", control.KeyOf(claim), err)
	}
	pv, err := b.match(claim, delayed)
	if err != nil {
		return err
	}
	if pv != nil {
		return b.bind(ctx, pv, claim)
	}
	if !volume.PersistentVolumeClaimHasClass(claim) {
		class, err := defaultClass(classes)
		if err != nil {
			return err
		}
		if class != nil {
			with := claim.DeepCopy()
			with.Spec.StorageClassName = &class.Name
			return b.updateClaim(ctx, with, "give it the default class")
		}
	}
	switch {
	case delayed && !volume.IsDelayBindingProvisioning(claim):
		if err := b.tellWaiting(claim); err != nil {
			return err
		}
	case volume.GetPersistentVolumeClaimClass(claim) != "":
		b.calls.Add(claimKind + control.KeyOf(claim))
		return b.pending(ctx, claim)
	default:
		b.events.Event(claim, v1.EventTypeNormal, failedBinding, "no persistent volumes available for this claim and no storage class is set")
	}
	return b.pending(ctx, claim)
}

func (b *Binder) pending(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	_, err := b.writePhase(ctx, claim, v1.ClaimPending, nil)
	return err
}

// tellWaiting says what a claim waits for whose volume is chosen with the node of its pod.
func (b *Binder) tellWaiting(claim *v1.PersistentVolumeClaim) error {
	pods, err := podsOf(b.pods, claim)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range pods {
		if p.Spec.NodeName == "" && !control.PodFinished(p) {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	reason, message := waitForFirstConsumer, "waiting for first consumer to be created before binding"
	switch {
	case len(names) == 1:
		reason, message = waitForPodScheduled, "waiting for pod "+names[0]+" to be scheduled"
	case len(names) > 1:
		reason, message = waitForPodScheduled, "waiting for pods "+strings.Join(names, ",")+" to be scheduled"
	}
	b.events.Event(claim, v1.EventTypeNormal, reason, message)
	return nil
}

// match returns the volume that suits a claim best: one that was made for it, else the smallest
// among those with the fewest access modes. A claim that waits for a node gets none before the
// scheduler has chosen that, and then one that the node can reach.
func (b *Binder) match(claim *v1.PersistentVolumeClaim, delayed bool) (*v1.PersistentVolume, error) {
	all, err := b.volumes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var node *v1.Node
	if name := claim.Annotations[volume.AnnSelectedNode]; delayed && name != "" {
		if node, _, err = control.Found(b.nodes.Get(name)); err != nil {
			return nil, err
		}
	}
	var groups [][]*v1.PersistentVolume // by the number of access modes
	for _, pv := range all {
		n := len(pv.Spec.AccessModes)
		if !volume.CheckAccessModes(claim, pv) {
			continue
		}
		for len(groups) <= n {
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], pv)
	}
	// One that was made for the claim comes before all others, whatever it can do besides.
	for _, g := range groups {
		for _, pv := range g {
			if volume.IsVolumeBoundToClaim(pv, claim) {
				found, err := volume.FindMatchingVolume(claim, []*v1.PersistentVolume{pv}, nil, nil, true, true)
				if found != nil || err != nil {
					return found, err
				}
			}
		}
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b *v1.PersistentVolume) int { return strings.Compare(a.Name, b.Name) })
		found, err := volume.FindMatchingVolume(claim, g, node, nil, delayed, true)
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// syncRequested binds a claim to the volume that it names.
func (b *Binder) syncRequested(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	pv, found, err := control.Found(b.volumes.Get(claim.Spec.VolumeName))
	switch {
	case err != nil:
		return err
	case !found:
		return b.pending(ctx, claim)
	case pv.Spec.ClaimRef == nil:
		if err := satisfies(pv, claim); err != nil {
			b.events.Event(claim, v1.EventTypeWarning, volumeMismatch, fmt.Sprintf("Cannot bind to requested volume %q: %s", pv.Name, err))
			return b.pending(ctx, claim)
		}
		return b.bind(ctx, pv, claim)
	case volume.IsVolumeBoundToClaim(pv, claim):
		return b.bind(ctx, pv, claim)
	}
	b.events.Event(claim, v1.EventTypeWarning, failedBinding, fmt.Sprintf("volume %q already bound to a different claim.", pv.Name))
	if metav1.HasAnnotation(claim.ObjectMeta, volume.AnnBoundByController) {
		ref := pv.Spec.ClaimRef
		return fmt.Errorf("invalid binding of claim %q to volume %q: volume already claimed by %q", control.KeyOf(claim), pv.Name, ref.Namespace+"/"+ref.Name)
	}
	return b.pending(ctx, claim)
}

// satisfies says why a volume is not what a claim asks for.
func satisfies(pv *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) error {
	asked, has := claim.Spec.Resources.Requests[v1.ResourceStorage], pv.Spec.Capacity[v1.ResourceStorage]
	attributes := func(name *string) string {
		if name == nil {
			return ""
		}
		return *name
	}
	switch {
	case pv.DeletionTimestamp != nil:
		return fmt.Errorf("the volume is marked for deletion %q", pv.Name)
	case has.Cmp(asked) < 0:
		return errors.New("requested PV is too small")
	case volume.GetPersistentVolumeClass(pv) != volume.GetPersistentVolumeClaimClass(claim):
		return errors.New("storageClassName does not match")
	case attributes(pv.Spec.VolumeAttributesClassName) != attributes(claim.Spec.VolumeAttributesClassName):
		return errors.New("volumeAttributesClassName does not match")
	case volume.CheckVolumeModeMismatches(&claim.Spec, &pv.Spec):
		return errors.New("incompatible volumeMode")
	case !volume.CheckAccessModes(claim, pv):
		return errors.New("incompatible accessMode")
	}
	return nil
}

// syncBound looks whether a claim that was bound still is.
func (b *Binder) syncBound(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName == "" {
		return b.lost(ctx, claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
	}
	pv, found, err := control.Found(b.volumes.Get(claim.Spec.VolumeName))
	if err != nil {
		return err
	}
	if !found { // the cache may be behind a claim that was just bound
		pv, found, err = control.Found(b.kit.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{}))
		if err != nil {
			return fmt.Errorf("volume of claim %s: %w", control.KeyOf(claim), err)
		}
	}
	switch {
	case !found:
		return b.lost(ctx, claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case pv.Spec.ClaimRef == nil, pv.Spec.ClaimRef.UID == claim.UID,
		pv.Spec.ClaimRef.UID == "" && volume.IsVolumeBoundToClaim(pv, claim):
		return b.bind(ctx, pv, claim)
	}
	return b.lost(ctx, claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

// lost writes that a claim has lost its volume, and says why, once.
func (b *Binder) lost(ctx context.Context, claim *v1.PersistentVolumeClaim, reason, message string) error {
	if claim.Status.Phase == v1.ClaimLost {
		return nil
	}
	now, err := b.writePhase(ctx, claim, v1.ClaimLost, nil)
	if err != nil {
		return err
	}
	b.events.Event(now, v1.EventTypeWarning, reason, message)
	return nil
}
