package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/reference"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// ownPrefix is that of parameters of a class that are not the storage's; fsTypeParameter says which
// file system its volumes get.
const (
	ownPrefix       = "csi.storage.k8s.io/"
	fsTypeParameter = ownPrefix + "fstype"
)

// provision has a volume made for a claim that no volume suits. The volume's name is made from
// the claim's UID: a second try, of whomever, is about the same volume.
func (b *Binder) provision(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return nil
	}
	failed := func(message string) { b.events.Event(claim, v1.EventTypeWarning, provisioningFailed, message) }
	classes, err := b.classLister(ctx)
	if err != nil {
		return err
	}
	class, err := classes.Get(volume.GetPersistentVolumeClaimClass(claim))
	if err != nil {
		failed(err.Error())
		return nil // a class that comes is told of
	}
	driver := class.Provisioner
	services, err := b.storages.Find(ctx, driver)
	switch {
	case errors.Is(err, ErrNoStorage):
		if driver == noProvisioner {
			return b.reschedule(ctx, claim, "no volume on that node suits it")
		}
		if claim, err = b.setProvisioner(ctx, claim, driver); err != nil {
			return err
		}
		b.events.Event(claim, v1.EventTypeNormal, externalProvisioning, fmt.Sprintf(
			"Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. "+
				"If volume creation is delayed, please verify that the provisioner is running and correctly registered.", driver))
		return nil
	case err != nil:
		return err
	case services.Provisioner == nil:
		failed(fmt.Sprintf("storage %s does not make volumes", driver))
		return nil
	}
	if refusal := beyond(claim); refusal != "" {
		failed(fmt.Sprintf("failed to provision volume with StorageClass %q: %s", class.Name, refusal))
		return nil
	}
	if claim, err = b.setProvisioner(ctx, claim, driver); err != nil {
		return err
	}
	return b.make(ctx, claim, class, services)
}

// beyond says what a claim asks for that a storage can't be told of: an empty volume would not be
// what is meant.
func beyond(claim *v1.PersistentVolumeClaim) string {
	const unknown = " can't be asked of the plugin that makes the volumes of this class"
	switch s := &claim.Spec; {
	case s.Selector != nil:
		return "claim Selector is not supported"
	case s.DataSource != nil || s.DataSourceRef != nil:
		return "spec.dataSource:" + unknown
	case s.VolumeAttributesClassName != nil && *s.VolumeAttributesClassName != "":
		return "spec.volumeAttributesClassName:" + unknown
	}
	return ""
}

// make has the storage make a volume, and writes it down bound to its claim.
func (b *Binder) make(ctx context.Context, claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, services storage.Services) error {
	failed := func(message string) { b.events.Event(claim, v1.EventTypeWarning, provisioningFailed, message) }
	name := "pvc-" + string(claim.UID)
	_, there, err := control.Found(b.kit.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{}))
	if there || err != nil {
		return err // it was made before; that it is there is seen to by its own event
	}
	// The cache may not show yet that the claim has got another.
	claim, there, err = control.Found(b.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{}))
	if !there || "pvc-"+string(claim.UID) != name || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return err
	}
	places, err := b.places(claim, class, services.TopologyKeys)
	if err != nil {
		failed(fmt.Sprintf("failed to provision volume with StorageClass %q: %s", class.Name, err))
		return b.reschedule(ctx, claim, err.Error())
	}
	request := storage.CreateVolumeRequest{
		Name: name, CapacityBytes: bytes(claim.Spec.Resources.Requests), Capability: capabilityOf(claim, class),
		Parameters: parametersOf(class), Topologies: places, SelectedNode: claim.Annotations[volume.AnnSelectedNode],
		Claim: storage.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: string(claim.UID)},
	}
	b.events.Event(claim, v1.EventTypeNormal, provisioning, fmt.Sprintf("External provisioner is provisioning volume for claim %q", control.KeyOf(claim)))
	made, err := services.Provisioner.CreateVolume(ctx, request)
	if err != nil {
		return b.notMade(ctx, claim, class, err)
	}
	pv, err := volumeFor(claim, class, services.Driver, name, made)
	if err != nil {
		return err
	}
	if _, err := b.kit.Client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		// It is not forgotten: the next try gets the same one, as long as there is the claim.
		if _, there, _ := control.Found(b.claims.PersistentVolumeClaims(claim.Namespace).Get(claim.Name)); !there {
			err = errors.Join(err, services.Provisioner.DeleteVolume(context.WithoutCancel(ctx), made.Handle, made.Context))
		}
		return fmt.Errorf("volume %s for claim %s: %w", name, control.KeyOf(claim), err)
	}
	b.events.Event(claim, v1.EventTypeNormal, provisioned, "Successfully provisioned volume "+name)
	return nil
}

// notMade says why no volume was made. Where there is no room at the node that was chosen,
// another is to be chosen.
func (b *Binder) notMade(ctx context.Context, claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, err error) error {
	if ctx.Err() != nil {
		return err
	}
	b.events.Event(claim, v1.EventTypeWarning, provisioningFailed, fmt.Sprintf("failed to provision volume with StorageClass %q: %s", class.Name, err))
	var retry *storage.RetryError
	switch {
	case errors.As(err, &retry):
		b.calls.AddAfter(claimKind+control.KeyOf(claim), retry.After)
		return nil
	case errors.Is(err, storage.ErrExhausted) && claim.Annotations[volume.AnnSelectedNode] != "":
		return b.reschedule(ctx, claim, err.Error())
	}
	return fmt.Errorf("volume for claim %s: %w", control.KeyOf(claim), err)
}

// reschedule gives the choice of the node back to the scheduler.
func (b *Binder) reschedule(ctx context.Context, claim *v1.PersistentVolumeClaim, why string) error {
	node := claim.Annotations[volume.AnnSelectedNode]
	if node == "" {
		return nil
	}
	changed := claim.DeepCopy()
	delete(changed.Annotations, volume.AnnSelectedNode)
	b.kit.Log.Info("another node is to be chosen for a claim", "claim", control.KeyOf(claim), "node", node, "reason", why)
	return b.updateClaim(ctx, changed, "have another node chosen")
}

// setProvisioner writes who is to make a claim's volume.
func (b *Binder) setProvisioner(ctx context.Context, claim *v1.PersistentVolumeClaim, driver string) (*v1.PersistentVolumeClaim, error) {
	if claim.Annotations[volume.AnnStorageProvisioner] == driver {
		return claim, nil
	}
	changed := claim.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, volume.AnnStorageProvisioner, driver)
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, volume.AnnBetaStorageProvisioner, driver)
	written, err := b.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("claim %s: write its provisioner: %w", control.KeyOf(claim), err)
	}
	return written, nil
}

// places are where the volume of a claim may be: at the node that was chosen for its pod, else
// wherever the class allows.
func (b *Binder) places(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, keys []string) ([]storage.Topology, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if name := claim.Annotations[volume.AnnSelectedNode]; name != "" {
		node, err := b.nodes.Get(name)
		if err != nil {
			return nil, fmt.Errorf("error getting selected node %q: %w", name, err)
		}
		place := storage.Topology{}
		for _, key := range keys {
			value, ok := node.Labels[key]
			if !ok {
				return nil, fmt.Errorf("node %q has no label %q, by which the storage knows where it is", name, key)
			}
			place[key] = value
		}
		return []storage.Topology{place}, nil
	}
	var out []storage.Topology
	for _, term := range class.AllowedTopologies {
		places := []storage.Topology{{}}
		for _, e := range term.MatchLabelExpressions {
			if !slices.Contains(keys, e.Key) {
				return nil, fmt.Errorf("allowedTopologies of StorageClass %q: the storage does not know the key %q, but %v", class.Name, e.Key, keys)
			}
			var next []storage.Topology
			for _, p := range places {
				for _, value := range e.Values {
					with := storage.Topology{e.Key: value}
					for k, v := range p {
						with[k] = v
					}
					next = append(next, with)
				}
			}
			places = next
		}
		out = append(out, places...)
	}
	return out, nil
}

// parametersOf are those of a class that are the storage's own.
func parametersOf(class *storagev1.StorageClass) map[string]string {
	out := map[string]string{}
	for key, value := range class.Parameters {
		if !strings.HasPrefix(key, ownPrefix) {
			out[key] = value
		}
	}
	return out
}

func capabilityOf(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass) storage.Capability {
	c := storage.Capability{
		AccessModes: claim.Spec.AccessModes, VolumeMode: v1.PersistentVolumeFilesystem,
		FSType: class.Parameters[fsTypeParameter], MountOptions: class.MountOptions,
	}
	if claim.Spec.VolumeMode != nil {
		c.VolumeMode = *claim.Spec.VolumeMode
	}
	return c
}

// volumeFor writes down what a storage has made for a claim.
func volumeFor(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, driver, name string, made *storage.Volume) (*v1.PersistentVolume, error) {
	ref, err := reference.GetReference(scheme.Scheme, claim)
	if err != nil {
		return nil, fmt.Errorf("refer to claim %s: %w", control.KeyOf(claim), err)
	}
	policy := v1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	capability := capabilityOf(claim, class)
	size := claim.Spec.Resources.Requests[v1.ResourceStorage]
	if made.CapacityBytes > size.Value() {
		size = *resource.NewQuantity(made.CapacityBytes, resource.BinarySI)
	}
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{volume.AnnDynamicallyProvisioned: driver}, Finalizers: []string{deletionFinalizer},
		},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: size}, AccessModes: claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy, StorageClassName: class.Name, MountOptions: class.MountOptions,
			VolumeMode: &capability.VolumeMode, ClaimRef: ref, VolumeAttributesClassName: claim.Spec.VolumeAttributesClassName,
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: driver, VolumeHandle: made.Handle, FSType: capability.FSType, VolumeAttributes: made.Context,
			}},
		},
	}
	for _, place := range made.Topologies {
		var term v1.NodeSelectorTerm
		for key, value := range place {
			term.MatchExpressions = append(term.MatchExpressions, v1.NodeSelectorRequirement{Key: key, Operator: v1.NodeSelectorOpIn, Values: []string{value}})
		}
		slices.SortFunc(term.MatchExpressions, func(a, b v1.NodeSelectorRequirement) int { return strings.Compare(a.Key, b.Key) })
		if pv.Spec.NodeAffinity == nil {
			pv.Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{}}
		}
		pv.Spec.NodeAffinity.Required.NodeSelectorTerms = append(pv.Spec.NodeAffinity.Required.NodeSelectorTerms, term)
	}
	return pv, nil
}
