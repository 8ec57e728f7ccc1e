package daemonset

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// world is what a pass over a DaemonSet starts from.
type world struct {
	ds *appsv1.DaemonSet
	// hash is that of the present template.
	hash  string
	nodes []*v1.Node
	pods  map[string][]*v1.Pod // by the node they are on or were made for
	// wait returns how long a node must wait for its failed pod to be replaced.
	wait func(node string) time.Duration
	now  time.Time

	meant map[string]meant
	// places are all nodes that are meant to have a pod or have one, sorted.
	places []string
}

// meant says what a node is meant to have.
type meant struct{ run, stay bool }

// plan is what a pass does.
type plan struct {
	create []string // nodes that get a pod
	remove []*v1.Pod
	failed []*v1.Pod // those of remove that have failed
	done   []*v1.Pod // those of remove whose containers have ended well
	// soon is when a node may get another try, 0 if none waits.
	soon time.Duration
}

func (d *plan) empty() bool { return len(d.create)+len(d.remove) == 0 }

func newWorld(ds *appsv1.DaemonSet, hash string, nodes []*v1.Node, pods []*v1.Pod, now time.Time) *world {
	w := &world{
		ds: ds, hash: hash, nodes: nodes, pods: map[string][]*v1.Pod{}, now: now,
		wait: func(string) time.Duration { return 0 }, meant: make(map[string]meant, len(nodes)),
	}
	place := placementOf(ds)
	for _, n := range w.nodes {
		run, stay := place.on(n)
		w.meant[n.Name] = meant{run, stay}
	}
	for _, p := range pods {
		if control.PodFinished(p) && p.DeletionTimestamp != nil {
			continue // gone but for a finalizer
		}
		if node, err := nodeOf(p); err == nil {
			w.pods[node] = append(w.pods[node], p)
		}
	}
	for _, list := range w.pods {
		slices.SortFunc(list, byPrecedence)
	}
	for node := range w.pods {
		w.places = append(w.places, node)
	}
	for node, m := range w.meant {
		if m.run && len(w.pods[node]) == 0 {
			w.places = append(w.places, node)
		}
	}
	slices.Sort(w.places)
	return w
}

// byPrecedence puts first the pod that stays where there are too many.
func byPrecedence(a, b *v1.Pod) int {
	unbound := func(p *v1.Pod) int {
		if p.Spec.NodeName == "" {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(unbound(a), unbound(b)),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func (w *world) available(p *v1.Pod) bool {
	ok, _ := control.PodAvailable(p, w.ds.Spec.MinReadySeconds, w.now)
	return ok
}

// updated reports whether a pod has the present template.
func (w *world) updated(p *v1.Pod) bool {
	if p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == w.hash && w.hash != "" {
		return true
	}
	generation := generationOf(w.ds)
	return generation != "" && p.Labels[generationLabel] == generation
}

// decide says which nodes get a pod and which pods go, whatever their template.
func decide(w *world) plan {
	var d plan
	for _, node := range w.places {
		m, known := w.meant[node]
		switch {
		case !known:
			// Nobody else takes care of pods that wait for a node that is gone.
			for _, p := range w.pods[node] {
				if p.Spec.NodeName == "" && p.DeletionTimestamp == nil {
					d.remove = append(d.remove, p)
				}
			}
		case m.run && len(w.pods[node]) == 0:
			d.create = append(d.create, node)
		case m.stay:
			d.prune(w, node, m.run)
		default:
			for _, p := range w.pods[node] {
				if p.DeletionTimestamp == nil {
					d.remove = append(d.remove, p)
				}
			}
		}
	}
	return d
}

// prune decides about the pods of a node that may have some.
func (d *plan) prune(w *world, node string, run bool) {
	var running []*v1.Pod
	for _, p := range w.pods[node] {
		switch {
		case p.DeletionTimestamp != nil:
		case p.Status.Phase == v1.PodFailed:
			// The node may refuse every pod; it is not asked all the time.
			if left := w.wait(node); left > 0 {
				if d.soon == 0 || left < d.soon {
					d.soon = left
				}
				continue
			}
			d.failed, d.remove = append(d.failed, p), append(d.remove, p)
		case p.Status.Phase == v1.PodSucceeded:
			d.done, d.remove = append(d.done, p), append(d.remove, p)
		default:
			running = append(running, p)
		}
	}
	if !surges(w.ds) {
		if len(running) > 1 {
			d.remove = append(d.remove, running[1:]...)
		}
		return
	}
	if len(running) == 0 && run {
		// The pod on its way out need not be waited for.
		d.create = append(d.create, node)
	}
	if len(running) < 2 {
		return
	}
	// One of each template may be there while the new one gets ready.
	var present, old *v1.Pod
	for _, p := range running {
		isPresent := p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == w.hash
		switch {
		case isPresent && present == nil:
			present = p
		case !isPresent && old == nil:
			old = p
		default:
			d.remove = append(d.remove, p)
		}
	}
	if present == nil || old == nil {
		return
	}
	if _, ready := control.PodReady(old); !ready || w.available(present) {
		d.remove = append(d.remove, old)
	}
}
