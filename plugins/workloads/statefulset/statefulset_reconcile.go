package statefulset

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// world is what a pass over a StatefulSet starts from.
type world struct {
	set  *appsv1.StatefulSet
	pods []*v1.Pod
	// claim returns a claim of the set's namespace as the cache has it, nil if it is not
	// there.
	claim           func(name string) *v1.PersistentVolumeClaim
	current, update *revision
	collisions      *int32
	now             time.Time
}

// revision is a ControllerRevision with the template it holds.
type revision struct {
	*appsv1.ControllerRevision
	template *v1.PodTemplateSpec
}

// verb is what is done about a pod.
type verb int

const (
	create verb = iota // make its missing claims, and it
	remove             // delete it
	claims             // make its missing claims
	own                // make those own its claims that should
	repair             // give it back its labels and its storage
)

// step is one thing to do.
type step struct {
	verb    verb
	pod     *v1.Pod
	ordinal int
}

// plan is what a pass does: stages one after the other, each only if none before failed,
// and what the status will be.
type plan struct {
	stages [][]step
	status appsv1.StatefulSetStatus
	// soon is when a ready pod will become available, 0 if none is waiting to.
	soon time.Duration
}

// decide compares the pods of a set with what it asks for.
func decide(w *world) plan {
	d := &decision{world: w, replicas: make([]*v1.Pod, max(0, *w.set.Spec.Replicas)), leaving: map[*v1.Pod]bool{}}
	for _, p := range w.pods {
		ordinal, ok := ordinalOf(w.set, p.Name)
		switch {
		case !ok:
		case inRange(w.set, ordinal):
			d.replicas[ordinal-first(w.set)] = p
		default:
			d.condemned = append(d.condemned, p)
		}
		if p.DeletionTimestamp != nil {
			d.leaving[p] = true
		}
	}
	slices.SortFunc(d.condemned, func(a, b *v1.Pod) int { return cmp.Compare(d.ordinal(b), d.ordinal(a)) })
	d.plan.status, d.plan.soon = count(w, slices.Concat(d.replicas, d.condemned))
	if w.set.DeletionTimestamp == nil {
		_ = d.keepReplicas() && d.shrink() && d.roll()
	}
	complete(w.set, &d.plan.status)
	return d.plan
}

// decision is a plan being made.
type decision struct {
	*world
	replicas  []*v1.Pod // by number; nil where there is none
	condemned []*v1.Pod // those that are too many, the highest number first
	leaving   map[*v1.Pod]bool
	plan      plan
}

func (d *decision) ordinal(p *v1.Pod) int {
	n, _ := ordinalOf(d.set, p.Name)
	return n
}

// ordered says that pods are made and removed one after the other.
func (d *decision) ordered() bool {
	return d.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
}

func (d *decision) stage(steps []step) {
	if len(steps) > 0 {
		d.plan.stages = append(d.plan.stages, steps)
	}
}

func (d *decision) available(p *v1.Pod) bool {
	ok, _ := control.PodAvailable(p, d.set.Spec.MinReadySeconds, d.now)
	return ok
}

// unavailable reports whether a pod is missing, going or not available.
func (d *decision) unavailable(p *v1.Pod) bool {
	return p == nil || d.leaving[p] || !d.available(p)
}

// keepReplicas makes and mends the pods that the set asks for. It reports whether what
// comes after may be looked at: in order, nothing happens behind a pod that is not
// available.
func (d *decision) keepReplicas() bool {
	var steps []step
	defer func() { d.stage(steps) }()
	for i, p := range d.replicas {
		ordinal := first(d.set) + i
		if p == nil {
			if !d.waitsForClaim(ordinal) {
				steps = append(steps, step{create, newPod(d.set, d.revisionFor(ordinal), ordinal), ordinal})
			}
			if d.ordered() {
				return false
			}
			continue
		}
		if control.PodFinished(p) {
			// However its containers ended: a pod of a set is there for good.
			if !d.leaving[p] {
				d.leaving[p] = true
				steps = append(steps, step{remove, p, ordinal})
			}
			if d.ordered() {
				return false
			}
			continue
		}
		if p.Status.Phase == v1.PodPending && d.lacksClaims(p, ordinal) {
			steps = append(steps, step{claims, p, ordinal})
		}
		if d.ordered() && (d.leaving[p] || p.Status.Phase != v1.PodRunning || !d.available(p)) {
			return false
		}
		if !d.leaving[p] && (!identityMatches(p) || !storageMatches(d.set, p, ordinal)) {
			steps = append(steps, step{repair, p, ordinal})
		}
		if d.disowned(p, ordinal) {
			steps = append(steps, step{own, p, ordinal})
		}
	}
	return true
}

// waitsForClaim reports whether a pod can't be made yet because a claim of its name is
// about to go.
func (d *decision) waitsForClaim(ordinal int) bool {
	return d.anyClaim(ordinal, func(c *v1.PersistentVolumeClaim) bool {
		return c != nil && stale(d.set, c, podName(d.set, ordinal))
	})
}

// lacksClaims reports whether claims of a pod are missing or about to go.
func (d *decision) lacksClaims(p *v1.Pod, ordinal int) bool {
	return !d.leaving[p] && d.anyClaim(ordinal, func(c *v1.PersistentVolumeClaim) bool {
		return c == nil || c.DeletionTimestamp != nil
	})
}

// disowned reports whether claims of a pod have not the owners they should have.
func (d *decision) disowned(p *v1.Pod, ordinal int) bool {
	return d.anyClaim(ordinal, func(c *v1.PersistentVolumeClaim) bool {
		return c != nil && judge(d.set, p, ordinal, c.OwnerReferences).change
	})
}

func (d *decision) anyClaim(ordinal int, is func(*v1.PersistentVolumeClaim) bool) bool {
	for i := range d.set.Spec.VolumeClaimTemplates {
		if is(d.claim(claimName(d.set, &d.set.Spec.VolumeClaimTemplates[i], ordinal))) {
			return true
		}
	}
	return false
}

// revisionFor returns the revision by which a pod that is missing is made.
func (d *decision) revisionFor(ordinal int) *revision {
	strategy := d.set.Spec.UpdateStrategy
	switch {
	case strategy.RollingUpdate != nil && ordinal < first(d.set)+partition(d.set):
		return d.current
	case strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && strategy.RollingUpdate == nil &&
		ordinal < first(d.set)+int(d.set.Status.CurrentReplicas):
		return d.current
	}
	return d.update
}

// shrink removes the pods that are too many. It reports whether the others may be brought
// to the new template meanwhile.
func (d *decision) shrink() bool {
	var handover []step
	for _, p := range d.condemned {
		if ordinal := d.ordinal(p); d.disowned(p, ordinal) {
			handover = append(handover, step{own, p, ordinal})
		}
	}
	d.stage(handover)
	if !d.ordered() {
		var steps []step
		for _, p := range d.condemned {
			if !d.leaving[p] {
				steps = append(steps, step{remove, p, d.ordinal(p)})
			}
		}
		d.stage(steps)
		return true
	}
	if len(d.condemned) == 0 {
		return true
	}
	highest := d.condemned[0]
	if d.leaving[highest] {
		return false
	}
	// One that is not available goes only when those below are well: a lower one may be the
	// reason.
	if d.available(highest) || !slices.ContainsFunc(d.condemned[1:], d.unavailable) {
		d.stage([]step{{remove, highest, d.ordinal(highest)}})
	}
	return false
}

// partition is the number of pods at the lower end that keep the old template.
func partition(set *appsv1.StatefulSet) int {
	r := set.Spec.UpdateStrategy.RollingUpdate
	if r == nil || r.Partition == nil {
		return 0
	}
	return int(*r.Partition)
}

// roll removes pods of the old template, the highest numbers first, so that they are made
// again by the new one.
func (d *decision) roll() bool {
	strategy := d.set.Spec.UpdateStrategy
	if strategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return true
	}
	// Without maxUnavailable, a pod is looked at when all above it are well, so that
	// trouble below, perhaps with the old template, does not hold up the update.
	room, above := 1, true
	if r := strategy.RollingUpdate; r != nil && r.MaxUnavailable != nil {
		n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, len(d.replicas), false)
		if err != nil {
			n = 1 // validation has let it through, so an earlier version knew better
		}
		room, above = max(n, 1), false
		for _, p := range d.replicas {
			if d.unavailable(p) {
				room--
			}
		}
	}
	var steps []step
	for i := len(d.replicas) - 1; i >= partition(d.set) && room > 0; i-- {
		p := d.replicas[i]
		if p != nil && !d.leaving[p] && p.Labels[appsv1.StatefulSetRevisionLabel] != d.update.Name {
			steps = append(steps, step{remove, p, first(d.set) + i})
			room--
			if p.Labels[appsv1.StatefulSetRevisionLabel] == d.current.Name {
				d.plan.status.CurrentReplicas--
			}
			continue
		}
		if above && d.unavailable(p) {
			break
		}
	}
	d.stage(steps)
	return true
}
