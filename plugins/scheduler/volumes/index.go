package volumes

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// Index holds the claims, volumes and classes of a cluster. It is not safe for concurrent use.
type Index struct {
	claims  map[string]*v1.PersistentVolumeClaim
	volumes map[string]*v1.PersistentVolume
	classes map[string]*storagev1.StorageClass
	// revoked counts how often the choice of a node was taken back from a claim.
	revoked map[string]int
}

// New returns an empty index.
func New() *Index {
	return &Index{
		claims: map[string]*v1.PersistentVolumeClaim{}, volumes: map[string]*v1.PersistentVolume{},
		classes: map[string]*storagev1.StorageClass{}, revoked: map[string]int{},
	}
}

func key(namespace, name string) string { return namespace + "/" + name }

// SetClaim takes a claim as it is now.
func (x *Index) SetClaim(c *v1.PersistentVolumeClaim) {
	k := key(c.Namespace, c.Name)
	if old := x.claims[k]; old != nil && old.UID == c.UID && old.Annotations[volume.AnnSelectedNode] != "" && c.Annotations[volume.AnnSelectedNode] == "" {
		x.revoked[k]++
	}
	x.claims[k] = c
}

// RemoveClaim takes the news that a claim is gone.
func (x *Index) RemoveClaim(c *v1.PersistentVolumeClaim) {
	delete(x.claims, key(c.Namespace, c.Name))
	delete(x.revoked, key(c.Namespace, c.Name))
}

// ReplaceClaims takes all claims that there are.
func (x *Index) ReplaceClaims(list []*v1.PersistentVolumeClaim) {
	gone := x.claims
	x.claims = make(map[string]*v1.PersistentVolumeClaim, len(list))
	for _, c := range list {
		if k := key(c.Namespace, c.Name); gone[k] != nil {
			x.claims[k] = gone[k]
		}
		x.SetClaim(c)
	}
}

// SetVolume takes a volume as it is now.
func (x *Index) SetVolume(pv *v1.PersistentVolume) { x.volumes[pv.Name] = pv }

// RemoveVolume takes the news that a volume is gone.
func (x *Index) RemoveVolume(pv *v1.PersistentVolume) { delete(x.volumes, pv.Name) }

// ReplaceVolumes takes all volumes that there are.
func (x *Index) ReplaceVolumes(list []*v1.PersistentVolume) {
	clear(x.volumes)
	for _, pv := range list {
		x.SetVolume(pv)
	}
}

// SetClass takes a class as it is now.
func (x *Index) SetClass(c *storagev1.StorageClass) { x.classes[c.Name] = c }

// RemoveClass takes the news that a class is gone.
func (x *Index) RemoveClass(c *storagev1.StorageClass) { delete(x.classes, c.Name) }

// ReplaceClasses takes all classes that there are.
func (x *Index) ReplaceClasses(list []*storagev1.StorageClass) {
	clear(x.classes)
	for _, c := range list {
		x.SetClass(c)
	}
}

// bound reports whether a claim has its volume.
func bound(c *v1.PersistentVolumeClaim) bool {
	return c.Spec.VolumeName != "" && metav1.HasAnnotation(c.ObjectMeta, volume.AnnBindCompleted)
}

// delayed reports whether a claim's volume is chosen or made only when the node is chosen.
func (x *Index) delayed(c *v1.PersistentVolumeClaim) (*storagev1.StorageClass, bool) {
	class := x.classes[volume.GetPersistentVolumeClaimClass(c)]
	ok := class != nil && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	return class, ok
}

// Demand returns what the claims of a pod ask of its node. Where no node would do, it says why
// instead. taken reports whether a pod that has a node uses a claim.
func (x *Index) Demand(p *model.Pod, taken func(claim string) bool) (*Demand, string) {
	d := &Demand{}
	unbound := false
	for _, name := range p.Claims {
		c, refusal := x.claim(p, name)
		if refusal != "" {
			return nil, refusal
		}
		if slices.Contains(c.Spec.AccessModes, v1.ReadWriteOncePod) && taken(name) {
			d.taken = true
		}
		if bound(c) {
			if pv := x.volumes[c.Spec.VolumeName]; pv != nil {
				d.bound = append(d.bound, pv)
			} else {
				d.lost = true
			}
			continue
		}
		class, delayed := x.delayed(c)
		if !delayed || c.Spec.VolumeName != "" {
			unbound = true
			continue
		}
		d.waiting = append(d.waiting, waiting{claim: c, class: class})
	}
	if unbound {
		return nil, "pod has unbound immediate PersistentVolumeClaims"
	}
	if len(d.waiting) > 0 {
		slices.SortStableFunc(d.waiting, func(a, b waiting) int {
			left, right := a.claim.Spec.Resources.Requests[v1.ResourceStorage], b.claim.Spec.Resources.Requests[v1.ResourceStorage]
			return left.Cmp(right)
		})
		d.available = x.available(d.waiting)
	}
	return d, ""
}

// claim returns a pod's claim, or why the pod can't be placed for it.
func (x *Index) claim(p *model.Pod, name string) (*v1.PersistentVolumeClaim, string) {
	c, ephemeral := x.claims[key(p.Namespace, name)], slices.Contains(p.EphemeralClaims, name)
	switch {
	case c == nil && ephemeral:
		return nil, fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
	case c == nil:
		return nil, fmt.Sprintf("persistentvolumeclaim %q not found", name)
	case c.Status.Phase == v1.ClaimLost:
		return nil, fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, c.Spec.VolumeName)
	case c.DeletionTimestamp != nil:
		return nil, fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
	}
	if owner := metav1.GetControllerOfNoCopy(c); ephemeral && (owner == nil || owner.UID != p.UID) {
		return nil, fmt.Sprintf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", c.Namespace, c.Name, p.Namespace, p.Name)
	}
	return c, ""
}

// available are the volumes that claims of some classes could get.
func (x *Index) available(list []waiting) []*v1.PersistentVolume {
	var out []*v1.PersistentVolume
	for _, pv := range x.volumes {
		of := func(w waiting) bool { return w.class.Name == volume.GetPersistentVolumeClass(pv) }
		if pv.Status.Phase == v1.VolumeAvailable && slices.ContainsFunc(list, of) {
			out = append(out, pv)
		}
	}
	return out
}

// Waiting returns the names of the claims of a pod that wait for the choice of its node.
func (x *Index) Waiting(p *model.Pod) []string {
	var out []string
	for _, name := range p.Claims {
		if c := x.claims[key(p.Namespace, name)]; c != nil && !bound(c) {
			out = append(out, name)
		}
	}
	return out
}

// Choice is how a claim waits for the volume that its node was chosen for.
type Choice struct {
	// Node that was chosen, empty where none is.
	Node string
	// ResourceVersion of the claim.
	ResourceVersion string
	// Revoked grows when a choice is taken back, as no volume can be had there.
	Revoked int
	// Bound says that the claim has its volume, which the node reaches.
	Bound bool
}

// Choice returns how a claim is. It fails where it has no volume that can be reached from a node,
// and will not get one.
func (x *Index) Choice(namespace, name string, node *v1.Node) (Choice, error) {
	c := x.claims[key(namespace, name)]
	if c == nil {
		return Choice{}, fmt.Errorf("persistentvolumeclaim %q not found", name)
	}
	out := Choice{
		Node: c.Annotations[volume.AnnSelectedNode], ResourceVersion: c.ResourceVersion, Revoked: x.revoked[key(namespace, name)],
	}
	if !bound(c) {
		return out, nil
	}
	pv := x.volumes[c.Spec.VolumeName]
	if pv == nil {
		return out, nil // it will be told of soon
	}
	if err := volume.CheckNodeAffinity(pv, node.Labels); err != nil {
		return out, fmt.Errorf("pv %q node affinity doesn't match node %q: %w", pv.Name, node.Name, err)
	}
	out.Bound = true
	return out, nil
}
