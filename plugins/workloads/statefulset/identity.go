package statefulset

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// ordinalOf returns the number in the name of a pod of a set, and false where the name is
// not one that the set gives.
func ordinalOf(set *appsv1.StatefulSet, pod string) (int, bool) {
	digits, ok := strings.CutPrefix(pod, set.Name+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != digits {
		return 0, false
	}
	return int(n), true
}

func podName(set *appsv1.StatefulSet, ordinal int) string {
	return set.Name + "-" + strconv.Itoa(ordinal)
}

// first is the lowest number of a set's pods.
func first(set *appsv1.StatefulSet) int {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

// inRange reports whether a set asks for a pod of a number.
func inRange(set *appsv1.StatefulSet, ordinal int) bool {
	return ordinal >= first(set) && ordinal < first(set)+int(*set.Spec.Replicas)
}

// newPod makes the pod of a number.
func newPod(set *appsv1.StatefulSet, r *revision, ordinal int) *v1.Pod {
	p := control.PodFrom(r.template, set, kind)
	p.Name = podName(set, ordinal)
	identify(p, ordinal)
	p.Labels[appsv1.StatefulSetRevisionLabel] = r.Name
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, set.Spec.ServiceName
	p.Spec.Volumes = volumes(set, p.Spec.Volumes, ordinal)
	return p
}

// identify gives a pod the labels that say which one it is.
func identify(p *v1.Pod, ordinal int) {
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[appsv1.StatefulSetPodNameLabel] = p.Name
	p.Labels[appsv1.PodIndexLabel] = strconv.Itoa(ordinal)
}

func identityMatches(p *v1.Pod) bool {
	return p.Labels[appsv1.StatefulSetPodNameLabel] == p.Name
}

// claimName is the name of the claim that a pod of a set has by a template.
func claimName(set *appsv1.StatefulSet, template *v1.PersistentVolumeClaim, ordinal int) string {
	return template.Name + "-" + podName(set, ordinal)
}

// volumes returns the volumes of a pod with those of its claims, which take the place of
// others with their names.
func volumes(set *appsv1.StatefulSet, have []v1.Volume, ordinal int) []v1.Volume {
	var out []v1.Volume
	claimed := map[string]bool{}
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		claimed[t.Name] = true
		out = append(out, v1.Volume{Name: t.Name, VolumeSource: v1.VolumeSource{
			PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(set, t, ordinal)},
		}})
	}
	for _, v := range have {
		if !claimed[v.Name] {
			out = append(out, v)
		}
	}
	return out
}

// storageMatches reports whether a pod uses the claims that are its own.
func storageMatches(set *appsv1.StatefulSet, p *v1.Pod, ordinal int) bool {
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		if !slices.ContainsFunc(p.Spec.Volumes, func(v v1.Volume) bool {
			return v.Name == t.Name && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claimName(set, t, ordinal)
		}) {
			return false
		}
	}
	return true
}

// newClaim makes the claim that a pod of a set has by a template.
func newClaim(set *appsv1.StatefulSet, template *v1.PersistentVolumeClaim, ordinal int) *v1.PersistentVolumeClaim {
	c := template.DeepCopy()
	c.Name, c.Namespace = claimName(set, template, ordinal), set.Namespace
	if set.Spec.Selector != nil && len(set.Spec.Selector.MatchLabels) > 0 {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		maps.Copy(c.Labels, set.Spec.Selector.MatchLabels)
	}
	return c
}
