package volumes

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/component-helpers/storage/volume"
)

// What users see, in the words that they know from Kubernetes.
const (
	reasonBind     = "node(s) didn't find available persistent volumes to bind"
	reasonAffinity = "node(s) didn't match PersistentVolume's node affinity"
	reasonLost     = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
	reasonTaken    = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)

// noProvisioner is the provisioner of classes whose volumes are all made by hand.
const noProvisioner = "kubernetes.io/no-provisioner"

// Demand is what the claims of a pod ask of its node.
type Demand struct {
	bound   []*v1.PersistentVolume
	lost    bool // a claim's volume is not there
	taken   bool // another pod has a claim that only one may have
	waiting []waiting
	// available are volumes that waiting claims could get.
	available []*v1.PersistentVolume
}

// waiting is a claim that gets its volume when the node is chosen.
type waiting struct {
	claim *v1.PersistentVolumeClaim
	class *storagev1.StorageClass
}

// InUse reports whether another pod has to go first.
func (d *Demand) InUse() bool { return d.taken }

// Misfit says why a node will not do, and nothing where it does.
func (d *Demand) Misfit(n *v1.Node) string {
	switch {
	case d.taken:
		return reasonTaken
	case d.lost:
		return reasonLost
	}
	for _, pv := range d.bound {
		if volume.CheckNodeAffinity(pv, n.Labels) != nil {
			return reasonAffinity
		}
	}
	chosen := map[string]*v1.PersistentVolume{}
	for _, w := range d.waiting {
		if node := w.claim.Annotations[volume.AnnSelectedNode]; node != "" {
			if node != n.Name {
				return reasonBind
			}
			continue // it is being made there
		}
		pv, err := volume.FindMatchingVolume(w.claim, d.available, n, chosen, true, true)
		switch {
		case err == nil && pv != nil:
			chosen[pv.Name] = pv
		case w.class.Provisioner == "" || w.class.Provisioner == noProvisioner || !allowed(w.class.AllowedTopologies, n.Labels):
			return reasonBind
		}
	}
	return ""
}

// allowed reports whether a class lets volumes be made for a node.
func allowed(terms []v1.TopologySelectorTerm, labels map[string]string) bool {
	if len(terms) == 0 {
		return true
	}
	return slices.ContainsFunc(terms, func(t v1.TopologySelectorTerm) bool {
		return len(t.MatchLabelExpressions) > 0 && !slices.ContainsFunc(t.MatchLabelExpressions, func(e v1.TopologySelectorLabelRequirement) bool {
			value, ok := labels[e.Key]
			return !ok || !slices.Contains(e.Values, value)
		})
	})
}
