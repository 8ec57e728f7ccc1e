package deployment

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// resize is a decision to give a ReplicaSet another size.
type resize struct {
	set *appsv1.ReplicaSet
	to  int32
}

func rolling(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType
}

// bounds returns how many pods a rollout may have too many and too few.
func bounds(d *appsv1.Deployment) (surge, unavailable int32) {
	if !rolling(d) || d.Spec.Strategy.RollingUpdate == nil || *d.Spec.Replicas == 0 {
		return 0, 0
	}
	r := d.Spec.Strategy.RollingUpdate
	s := scaled(r.MaxSurge, *d.Spec.Replicas, true)
	u := scaled(r.MaxUnavailable, *d.Spec.Replicas, false)
	if s == 0 && u == 0 {
		// Both can't be zero by validation, but rounding can make them so; without this a
		// rollout would never move.
		u = 1
	}
	return s, min(u, *d.Spec.Replicas)
}

func scaled(v *intstr.IntOrString, of int32, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(of), up)
	if err != nil {
		return 0 // validation lets no such value in
	}
	return int32(n)
}

func maxSurge(d *appsv1.Deployment) int32 {
	s, _ := bounds(d)
	return s
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	_, u := bounds(d)
	return u
}

func specReplicas(sets ...*appsv1.ReplicaSet) int32 {
	var n int32
	for _, rs := range sets {
		if rs != nil {
			n += *rs.Spec.Replicas
		}
	}
	return n
}

func available(sets ...*appsv1.ReplicaSet) int32 {
	var n int32
	for _, rs := range sets {
		if rs != nil {
			n += rs.Status.AvailableReplicas
		}
	}
	return n
}

func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range sets {
		if rs != nil && *rs.Spec.Replicas > 0 {
			out = append(out, rs)
		}
	}
	return out
}

// newSize is the size that the present ReplicaSet may have now.
func newSize(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) int32 {
	want, have := *d.Spec.Replicas, *current.Spec.Replicas
	if !rolling(d) || have >= want {
		return want
	}
	room := want + maxSurge(d) - specReplicas(old...) - have
	return have + max(0, min(room, want-have))
}

// shrinkOld decides about the old ReplicaSets in a rolling update: replicas that are not
// available anyway go first, then as many as minimum availability allows.
func shrinkOld(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []resize {
	old = byAge(active(old))
	if len(old) == 0 {
		return nil
	}
	least := *d.Spec.Replicas - maxUnavailable(d)
	size := make([]int32, len(old))
	for i, rs := range old {
		size[i] = *rs.Spec.Replicas
	}
	budget := specReplicas(old...) + *current.Spec.Replicas - least - (*current.Spec.Replicas - current.Status.AvailableReplicas)
	if budget <= 0 {
		return nil
	}
	for i, rs := range old {
		n := min(budget, max(0, size[i]-rs.Status.AvailableReplicas))
		size[i] -= n
		budget -= n
	}
	spare := available(old...) + current.Status.AvailableReplicas - least
	for i := range old {
		n := min(size[i], max(0, spare))
		size[i] -= n
		spare -= n
	}
	var out []resize
	for i, rs := range old {
		if size[i] != *rs.Spec.Replicas {
			out = append(out, resize{rs, size[i]})
		}
	}
	return out
}

// zero decides that ReplicaSets shall have no pods.
func zero(sets []*appsv1.ReplicaSet) []resize {
	var out []resize
	for _, rs := range active(sets) {
		out = append(out, resize{rs, 0})
	}
	return out
}

// wasScaled reports whether the Deployment's size changed since its ReplicaSets were
// sized.
func wasScaled(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) bool {
	for _, rs := range active(sets) {
		desired, err := strconv.Atoi(rs.Annotations[desiredKey])
		if err == nil && int32(desired) != *d.Spec.Replicas {
			return true
		}
	}
	return false
}

// scale carries a change of the Deployment's size over to its ReplicaSets: to the only
// one, or in the middle of a rollout to all in proportion, so that the risk stays spread.
func scale(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []resize {
	all := append(slices.Clone(old), current)
	live := active(all)
	if only := activeOrLatest(current, old, live); only != nil {
		if *only.Spec.Replicas == *d.Spec.Replicas {
			return nil
		}
		return []resize{{only, *d.Spec.Replicas}}
	}
	if saturated(d, current) {
		return zero(old)
	}
	if !rolling(d) {
		return nil
	}
	return proportional(d, live)
}

func activeOrLatest(current *appsv1.ReplicaSet, old, live []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	switch len(live) {
	case 0:
		if current != nil {
			return current
		}
		if old = byAge(old); len(old) > 0 {
			return old[len(old)-1]
		}
		return nil
	case 1:
		return live[0]
	}
	return nil
}

func saturated(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	if rs == nil {
		return false
	}
	desired, err := strconv.Atoi(rs.Annotations[desiredKey])
	return err == nil && *rs.Spec.Replicas == *d.Spec.Replicas &&
		int32(desired) == *d.Spec.Replicas && rs.Status.AvailableReplicas == *d.Spec.Replicas
}

func proportional(d *appsv1.Deployment, live []*appsv1.ReplicaSet) []resize {
	var most int32
	if *d.Spec.Replicas > 0 {
		most = *d.Spec.Replicas + maxSurge(d)
	}
	toAdd := most - specReplicas(live...)
	live = slices.Clone(live)
	// The largest get what rounding leaves over; among equals the newest grows first and
	// the oldest shrinks first.
	slices.SortStableFunc(live, func(a, b *appsv1.ReplicaSet) int {
		age := a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		if toAdd > 0 {
			age = -age
		}
		return cmp.Or(cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas), age)
	})
	out := make([]resize, len(live))
	var added int32
	for i, rs := range live {
		n := int32(0)
		if toAdd != 0 {
			n = proportion(d, rs, toAdd, added)
		}
		added += n
		out[i] = resize{rs, *rs.Spec.Replicas + n}
	}
	if len(out) > 0 && toAdd != 0 {
		out[0].to = max(0, out[0].to+toAdd-added)
	}
	return out
}

// proportion is the share of a ReplicaSet in what is added (or taken, if negative).
func proportion(d *appsv1.Deployment, rs *appsv1.ReplicaSet, toAdd, added int32) int32 {
	left := toAdd - added
	if *rs.Spec.Replicas == 0 || left == 0 {
		return 0
	}
	share := -*rs.Spec.Replicas
	if *d.Spec.Replicas > 0 {
		before := d.Status.Replicas
		if n, err := strconv.ParseInt(rs.Annotations[maxReplicasKey], 10, 32); err == nil {
			before = int32(n)
		}
		if before == 0 {
			return 0
		}
		size := float64(*rs.Spec.Replicas) * float64(*d.Spec.Replicas+maxSurge(d)) / float64(before)
		share = int32(math.Round(size)) - *rs.Spec.Replicas
	}
	if toAdd > 0 {
		return min(share, left)
	}
	return max(share, left)
}
