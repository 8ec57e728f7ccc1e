package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/storage"
)

// claimProtection keeps a claim that pods use.
const claimProtection = "kubernetes.io/pvc-protection"

// attachPoll is how often it is looked whether a volume has been attached: nodes may not watch
// attachments.
const attachPoll = 250 * time.Millisecond

// Claims has what the claims of pods are bound to.
type Claims interface {
	Claim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	PersistentVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error)
	Attachment(ctx context.Context, name string) (*storagev1.VolumeAttachment, error)
}

// ErrNoStorage says that a storage will not come back to this node: nobody wishes for it there any
// more.
var ErrNoStorage = errors.New("this node has no such storage")

// Storages has the storages of this node.
type Storages interface {
	// Storage returns what the storage of a name offers now, and the directory in which it is
	// given places to mount at. Its error says why there is none; it is ErrNoStorage where there
	// will be none.
	Storage(driver string) (services storage.Services, dir string, err error)
}

// Persistent is what a Manager needs for volumes that outlive pods.
type Persistent struct {
	Claims   Claims
	Storages Storages
	// Node is the name of this node.
	Node string
}

// Persist lets the manager mount volumes of claims. It comes before the first Setup.
func (m *Manager) Persist(p Persistent) { m.persistent = p }

// processError is why it could not even be said what is to be mounted.
type processError struct {
	volume string
	err    error
}

func (e *processError) Error() string {
	return fmt.Sprintf("Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[%s]: %v", e.volume, e.volume, e.err)
}
func (e *processError) Unwrap() error { return e.err }

// claimOf is the name of the claim that a volume is of, empty where it is of none.
func claimOf(pod *corev1.Pod, v *corev1.Volume) (name string, readOnly bool) {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName, v.PersistentVolumeClaim.ReadOnly
	case v.Ephemeral != nil:
		return pod.Name + "-" + v.Name, false
	}
	return "", false
}

// claimed mounts the volume that a claim is bound to, or finds it mounted.
func (m *Manager) claimed(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (string, error) {
	if r, err := m.record(string(pod.UID), v.Name); err == nil && r.Done {
		if there, err := r.there(); err != nil || there {
			return r.Path, err
		}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", setUpError(v.Name, err)
	}
	pv, readOnly, err := m.boundTo(ctx, pod, v)
	if err != nil {
		return "", &processError{v.Name, err}
	}
	switch {
	case pv.Spec.HostPath != nil:
		if err := hostPath(pv.Spec.HostPath); err != nil {
			return "", setUpError(pv.Name, err)
		}
		return pv.Spec.HostPath.Path, nil
	case pv.Spec.Local != nil:
		if _, err := os.Stat(pv.Spec.Local.Path); errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("MountVolume.NewMounter initialization failed for volume %q : path %q does not exist", pv.Name, pv.Spec.Local.Path)
		}
		return m.mount(ctx, pod, v, pv, readOnly)
	case pv.Spec.CSI != nil:
		return m.mount(ctx, pod, v, pv, readOnly || pv.Spec.CSI.ReadOnly)
	}
	return "", setUpError(pv.Name, errors.New("no volume plugin matched: volumes of this kind can't be mounted on this node; those of storages (spec.csi), hostPath and local can"))
}

func setUpError(volume string, err error) error {
	return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume, err)
}

// boundTo is the volume that the claim of a pod's volume is bound to.
func (m *Manager) boundTo(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (pv *corev1.PersistentVolume, readOnly bool, err error) {
	name, readOnly := claimOf(pod, v)
	failed := func(err error) error {
		return fmt.Errorf("error processing PVC %s/%s: %w", pod.Namespace, name, err)
	}
	if m.persistent.Claims == nil {
		return nil, false, failed(errors.New("volumes of claims can't be mounted on this node"))
	}
	claim, err := m.persistent.Claims.Claim(ctx, pod.Namespace, name)
	if err != nil {
		return nil, false, failed(fmt.Errorf("failed to fetch PVC from API server: %w", err))
	}
	switch {
	case claim.DeletionTimestamp != nil && !slices.Contains(claim.Finalizers, claimProtection):
		return nil, false, failed(errors.New("PVC is being deleted"))
	case claim.Status.Phase != corev1.ClaimBound:
		return nil, false, failed(errors.New("PVC is not bound"))
	case claim.Spec.VolumeName == "":
		return nil, false, failed(errors.New("PVC has empty pvc.Spec.VolumeName"))
	case v.Ephemeral != nil && !metav1.IsControlledBy(claim, pod):
		return nil, false, fmt.Errorf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", claim.Namespace, claim.Name, pod.Namespace, pod.Name)
	}
	if pv, err = m.persistent.Claims.PersistentVolume(ctx, claim.Spec.VolumeName); err != nil {
		return nil, false, failed(fmt.Errorf("failed to fetch PV %s from API server: %w", claim.Spec.VolumeName, err))
	}
	switch ref := pv.Spec.ClaimRef; {
	case ref == nil:
		return nil, false, failed(fmt.Errorf("found PV object %s but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim", pv.Name))
	case ref.UID != claim.UID:
		return nil, false, failed(fmt.Errorf("found PV object %s but its pv.Spec.ClaimRef.UID %s does not point to claim.UID %s", pv.Name, ref.UID, claim.UID))
	}
	if err := fitsMode(pod, v, pv); err != nil {
		return nil, false, err
	}
	return pv, readOnly, nil
}

// fitsMode compares the mode of a volume with how containers use it.
func fitsMode(pod *corev1.Pod, v *corev1.Volume, pv *corev1.PersistentVolume) error {
	block := pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == corev1.PersistentVolumeBlock
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			mounted := slices.ContainsFunc(list[i].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
			device := slices.ContainsFunc(list[i].VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == v.Name })
			switch {
			case mounted && block:
				return fmt.Errorf("volume %s has volumeMode Block, but is specified in volumeMounts", v.Name)
			case device && !block:
				return fmt.Errorf("volume %s has volumeMode Filesystem, but is specified in volumeDevices", v.Name)
			case device:
				return fmt.Errorf("volume %s has volumeMode Block, and devices can't be given to containers on this node", v.Name)
			}
		}
	}
	return nil
}

// attached waits until a storage's volume is attached to this node, and returns what the storage
// said of that.
func (m *Manager) attached(ctx context.Context, pv *corev1.PersistentVolume) (map[string]string, error) {
	csi := pv.Spec.CSI
	name := storage.AttachmentName(csi.Driver, csi.VolumeHandle, m.persistent.Node)
	tick := time.NewTicker(attachPoll)
	defer tick.Stop()
	why := ""
	for {
		a, err := m.persistent.Claims.Attachment(ctx, name)
		switch {
		case err == nil && a.DeletionTimestamp != nil:
			why = "it is being detached"
		case err == nil && a.Status.Attached:
			return a.Status.AttachmentMetadata, nil
		case err == nil && a.Status.AttachError != nil:
			why = a.Status.AttachError.Message
		case err == nil:
			why = "it has not been attached yet"
		case apierrors.IsNotFound(err) || apierrors.IsForbidden(err): // nodes may not ask for what is not there
			why = "nobody has asked for it yet"
		case ctx.Err() == nil:
			return nil, fmt.Errorf("MountVolume.WaitForAttach failed for volume %q : %w", pv.Name, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("MountVolume.WaitForAttach failed for volume %q : timed out waiting for external-attacher of %s CSI driver to attach volume %s: %s",
				pv.Name, csi.Driver, csi.VolumeHandle, strings.TrimSpace(why))
		}
	}
}

// capability is how a volume is used.
func capability(pv *corev1.PersistentVolume) storage.Capability {
	c := storage.Capability{
		AccessModes: pv.Spec.AccessModes, VolumeMode: corev1.PersistentVolumeFilesystem, FSType: pv.Spec.CSI.FSType, MountOptions: pv.Spec.MountOptions,
	}
	if pv.Spec.VolumeMode != nil {
		c.VolumeMode = *pv.Spec.VolumeMode
	}
	return c
}
