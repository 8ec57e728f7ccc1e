package daemonset

import (
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// scaled returns how many of n nodes a number or percentage is, rounded up.
func scaled(v *intstr.IntOrString, n int) int {
	if v == nil {
		return 0
	}
	out, err := intstr.GetScaledValueFromIntOrPercent(v, n, true)
	if err != nil {
		return 0 // validation has refused it
	}
	return out
}

// limits returns how many of n nodes may have one pod more, and how many none, during an
// update.
func limits(ds *appsv1.DaemonSet, n int) (surge, unavailable int) {
	r := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType && r != nil {
		surge, unavailable = scaled(r.MaxSurge, n), scaled(r.MaxUnavailable, n)
	}
	if n > 0 && surge == 0 && unavailable == 0 {
		unavailable = 1 // or nothing would ever be updated
	}
	return surge, unavailable
}

// surges reports whether a node may have two pods during an update.
func surges(ds *appsv1.DaemonSet) bool {
	surge, _ := limits(ds, 1)
	return surge > 0
}

// roll says what is next on the way to the present template, where decide finds nothing
// to do.
func roll(w *world) plan {
	desired := 0
	for _, m := range w.meant {
		if m.run {
			desired++
		}
	}
	surge, unavailable := limits(w.ds, desired)
	if surge > 0 {
		return rollBySurge(w, surge, desired)
	}
	return rollByReplacing(w, unavailable)
}

// pair returns the pod of the present template on a node and the one of another; ok is
// false where there are more, which decide prunes.
func (w *world) pair(node string) (present, old *v1.Pod, ok bool) {
	for _, p := range w.pods[node] {
		if p.DeletionTimestamp != nil {
			continue
		}
		slot := &old
		if w.updated(p) {
			slot = &present
		}
		if *slot != nil {
			return nil, nil, false
		}
		*slot = p
	}
	return present, old, true
}

// rollByReplacing removes old pods, so that decide makes new ones. Pods that don't work
// anyway go first and are not counted against what may be unavailable.
func rollByReplacing(w *world, most int) plan {
	var broken, working []*v1.Pod
	unavailable := 0
	for _, node := range w.places {
		present, old, ok := w.pair(node)
		switch {
		case !ok, (present == nil) == (old == nil):
			unavailable++
		case present != nil:
			if !w.available(present) {
				unavailable++
			}
		case !w.available(old):
			broken = append(broken, old)
			unavailable++
		default:
			working = append(working, old)
		}
	}
	room := min(max(0, most-unavailable), len(working))
	return plan{remove: append(broken, working[:room]...)}
}

// rollBySurge makes new pods beside old ones, and removes the old ones when the new are
// available.
func rollBySurge(w *world, most, desired int) plan {
	var d plan
	var candidates []string
	var misplaced []*v1.Pod
	surging, available := 0, 0
	for _, node := range w.places {
		present, old, ok := w.pair(node)
		if !ok {
			surging++
			continue
		}
		if (old != nil && w.available(old)) || (old == nil && present != nil && w.available(present)) {
			available++
		}
		run := w.meant[node].run
		switch {
		case old == nil:
		case present != nil && w.available(present):
			d.remove = append(d.remove, old)
		case present != nil:
			surging++
		case !w.available(old) && !run:
			d.remove = append(d.remove, old)
		case !w.available(old):
			d.create = append(d.create, node)
		case !run:
			misplaced = append(misplaced, old)
		default:
			candidates = append(candidates, node)
		}
	}
	// Where the set has moved to other nodes, the old pods stay until the new ones work.
	if spare := min(available-desired, len(misplaced)); spare > 0 {
		d.remove = append(d.remove, misplaced[:spare]...)
	}
	d.create = append(d.create, candidates[:min(max(0, most-surging), len(candidates))]...)
	return d
}
