package statefulset_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

// move is something that happens to a set or its pods.
type move struct {
	what string
	n    int32
}

var moves = []string{"scale", "image", "ready", "unready", "fail", "delete", "start", "partition", "strip"}

// TestWhateverHappens does things to a set in any order. At every moment, pods stand in
// the range and have the identity of their name, and in order none is made behind one that
// is missing. When all goes well again, the set gets what it asks for.
func TestWhateverHappens(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		// client-go's fake API takes a millisecond for every write; a few runs are enough to
		// be told of a mistake the next time, and -rapid.checks asks for more.
		if err := f.Value.Set("25"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var list []move
		for range rapid.IntRange(1, 12).Draw(rt, "moves") {
			list = append(list, move{rapid.SampledFrom(moves).Draw(rt, "what"), rapid.Int32Range(0, 4).Draw(rt, "n")})
		}
		ordered := rapid.Bool().Draw(rt, "ordered")
		set := newSet(rapid.Int32Range(0, 4).Draw(rt, "replicas"), withClaims)
		if !ordered {
			parallel(set)
		}
		var problem string
		run(t, []runtime.Object{set}, func(w world) {
			problem = w.play(list, ordered)
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// play makes the moves and returns what is wrong, "" for nothing.
func (w world) play(list []move, ordered bool) string {
	for i, m := range list {
		before := map[types.UID]bool{}
		for _, p := range w.Pods() {
			before[p.UID] = true
		}
		w.move(m)
		if problem := w.wrong(before, ordered); problem != "" {
			return fmt.Sprintf("after %v: %s", list[:i+1], problem)
		}
	}
	// Enough rounds to bring every pod to the last template, one after the other.
	w.update(partition(0))
	problem := ""
	for range 24 {
		if problem = w.unfinished(); problem == "" {
			return ""
		}
		for _, p := range w.Pods() {
			if len(p.Status.Conditions) == 0 || p.Status.Conditions[0].Status != v1.ConditionTrue || p.Status.Phase != v1.PodRunning {
				w.recover(&p)
			}
		}
		w.SettleLate()
	}
	return fmt.Sprintf("%v never came to rest: %s", list, problem)
}

// recover makes a pod run and ready, if it is still there: the controller works at the same
// time, and may have taken it away since it was listed.
func (w world) recover(p *v1.Pod) {
	setPhase(p, v1.PodRunning, v1.ConditionTrue)
	if _, err := w.Client.CoreV1().Pods("default").UpdateStatus(w.Ctx, p, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
}

// unfinished returns what keeps a set from having what it asks for, "" for nothing.
func (w world) unfinished() string {
	set, pods := w.set(), w.Pods()
	if len(pods) != int(*set.Spec.Replicas) || set.Status.AvailableReplicas != *set.Spec.Replicas || set.Status.CurrentRevision != set.Status.UpdateRevision {
		return fmt.Sprintf("%v, %+v", w.PodNames(), set.Status)
	}
	for i := range pods {
		if got, want := pods[i].Spec.Containers[0].Image, set.Spec.Template.Spec.Containers[0].Image; got != want {
			return fmt.Sprintf("%s has %s, not %s", pods[i].Name, got, want)
		}
	}
	return ""
}

func (w world) move(m move) {
	pods := w.PodNames()
	var name string
	if len(pods) > 0 {
		name = pods[int(m.n)%len(pods)]
	}
	switch m.what {
	case "scale":
		w.scale(m.n)
	case "image":
		w.image(fmt.Sprint("image-", m.n))
	case "partition":
		w.update(partition(m.n))
	case "start":
		w.update(func(set *appsv1.StatefulSet) { set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: m.n} })
	}
	if name == "" {
		return
	}
	switch m.what {
	case "ready":
		w.ready(name)
	case "unready":
		w.phase(name, v1.PodRunning, v1.ConditionFalse)
	case "fail":
		w.phase(name, v1.PodFailed, v1.ConditionFalse)
	case "delete":
		w.remove(name)
	case "strip":
		p := w.pod(name)
		delete(p.Labels, appsv1.StatefulSetPodNameLabel)
		controltest.Update(w, w.Client.CoreV1().Pods("default"), p)
		w.SettleLate()
	}
}

// wrong returns what must not be. before are the pods that were there a move ago.
func (w world) wrong(before map[types.UID]bool, ordered bool) string {
	set := w.set()
	start := 0
	if set.Spec.Ordinals != nil {
		start = int(set.Spec.Ordinals.Start)
	}
	revisions := map[string]string{} // by image
	missing := ""
	for i := range int(*set.Spec.Replicas) {
		name := fmt.Sprint("web-", start+i)
		if !slices.Contains(w.PodNames(), name) {
			missing = name
			continue
		}
		p := w.pod(name)
		if missing != "" && ordered && !before[p.UID] {
			return fmt.Sprintf("%s was made before %s", name, missing)
		}
		if p.Spec.Hostname != name || p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != "data-"+name {
			return fmt.Sprintf("%s has not its identity: %+v", name, p.Spec)
		}
		image, revision := p.Spec.Containers[0].Image, p.Labels[appsv1.StatefulSetRevisionLabel]
		if other, ok := revisions[image]; ok && other != revision {
			return fmt.Sprintf("%s and %s are both called %s", other, revision, image)
		}
		revisions[image] = revision
	}
	if !ordered && missing != "" {
		return missing + " was not made"
	}
	return ""
}
