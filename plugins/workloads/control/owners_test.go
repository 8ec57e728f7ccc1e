package control_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

var setKind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

func ownerSet(name, uid string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", UID: types.UID(uid)}}
}

func podOf(set *appsv1.ReplicaSet, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "p", Labels: map[string]string{"app": "a"}}}
	if set != nil {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, setKind)}
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func dying(p *v1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

func TestPodEventsReachTheOwnersConcerned(t *testing.T) {
	one, two := ownerSet("one", "1"), ownerSet("two", "2")
	replaced := ownerSet("one", "0")
	foreign := podOf(one, func(p *v1.Pod) { p.OwnerReferences[0].Kind = "ReplicationController" })
	otherGroup := podOf(one, func(p *v1.Pod) { p.OwnerReferences[0].APIVersion = "example.com/v1" })
	unlabelled := podOf(nil, func(p *v1.Pod) { p.Labels = nil })
	add := func(p *v1.Pod) func(cache.ResourceEventHandler) {
		return func(h cache.ResourceEventHandler) { h.OnAdd(p, false) }
	}
	update := func(old, p *v1.Pod) func(cache.ResourceEventHandler) {
		return func(h cache.ResourceEventHandler) { h.OnUpdate(old, p) }
	}
	remove := func(obj any) func(cache.ResourceEventHandler) {
		return func(h cache.ResourceEventHandler) { h.OnDelete(obj) }
	}
	tests := []struct {
		name             string
		event            func(cache.ResourceEventHandler)
		woken            []string
		created, deleted bool   // what the set "one" has seen of what it expects
		also             string // whose the pod is, and whether it is gone
	}{
		{"made", add(podOf(one)), []string{"n/one"}, true, false, "one"},
		{"made and dying already", add(podOf(one, dying)), []string{"n/one"}, true, true, "one"},
		{"made without a controller", add(podOf(nil)), []string{"n/one", "n/two"}, false, false, ""},
		{"made without a controller, dying", add(podOf(nil, dying)), nil, false, false, ""},
		{"made without a controller or labels", add(unlabelled), nil, false, false, ""},
		{"made by an owner that was replaced", add(podOf(replaced)), nil, false, false, ""},
		{"made by an owner of another kind", add(foreign), nil, false, false, ""},
		{"made by an owner of another group", add(otherGroup), nil, false, false, ""},
		{"changed", update(podOf(one), podOf(one)), []string{"n/one"}, false, false, "one"},
		{"dies", update(podOf(one), podOf(one, dying)), []string{"n/one"}, false, true, "one"},
		{"passed on", update(podOf(two), podOf(one)), []string{"n/one", "n/two"}, false, false, "one"},
		{"released", update(podOf(one), podOf(nil)), []string{"n/one", "n/one", "n/two"}, false, false, ""},
		{"released and dying", update(podOf(one), podOf(nil, dying)), []string{"n/one"}, false, false, ""},
		{"adopted", update(podOf(nil), podOf(one)), []string{"n/one"}, false, false, "one"},
		{"gone", remove(podOf(one)), []string{"n/one"}, false, true, "one gone"},
		{"gone unseen", remove(cache.DeletedFinalStateUnknown{Key: "n/p", Obj: podOf(one)}), []string{"n/one"}, false, true, "one gone"},
		{"gone without a controller", remove(podOf(nil)), nil, false, false, " gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			made, gone := control.NewExpectations(nil), control.NewExpectations(nil)
			made.Expect("n/one", 1)
			gone.Expect("n/one", 0, "p")
			for _, expect := range []*control.Expectations{made, gone} {
				var woken []string
				var also string
				events := control.PodEvents[*appsv1.ReplicaSet]{
					Owners: control.Owners[*appsv1.ReplicaSet]{Kind: setKind, Get: func(namespace, name string) (*appsv1.ReplicaSet, error) {
						for _, set := range []*appsv1.ReplicaSet{one, two} {
							if set.Namespace == namespace && set.Name == name {
								return set, nil
							}
						}
						return nil, apierrors.NewNotFound(appsv1.Resource("replicasets"), name)
					}, Expect: expect},
					Selecting: func(*v1.Pod) ([]*appsv1.ReplicaSet, error) { return []*appsv1.ReplicaSet{one, two}, nil },
					Wake:      func(key string) { woken = append(woken, key) },
					Also: func(_ *v1.Pod, owner *appsv1.ReplicaSet, gone bool) {
						if owner != nil {
							also = owner.Name
						}
						if gone {
							also += " gone"
						}
					},
				}
				tt.event(events.Handler())
				slices.Sort(woken)
				if !slices.Equal(woken, tt.woken) || also != tt.also {
					t.Errorf("woken: %v, want %v; also: %q, want %q", woken, tt.woken, also, tt.also)
				}
			}
			if made.Satisfied("n/one") != tt.created || gone.Satisfied("n/one") != tt.deleted {
				t.Errorf("creation seen: %t, deletion seen: %t", made.Satisfied("n/one"), gone.Satisfied("n/one"))
			}
		})
	}
}

func TestLookup(t *testing.T) {
	get := func(namespace, name string) (string, error) {
		switch name {
		case "there":
			return namespace + " " + name, nil
		case "gone":
			return "rubbish", apierrors.NewNotFound(v1.Resource("pods"), name)
		}
		return "rubbish", apierrors.NewInternalError(errors.New("broken"))
	}
	for key, want := range map[string]struct {
		obj           string
		found, failed bool
	}{
		"n/there": {"n there", true, false}, "there": {" there", true, false}, "n/gone": {"", false, false},
		"a/b/c": {"", false, false}, "n/broken": {"", false, true},
	} {
		obj, found, err := control.Lookup(key, get)
		if obj != want.obj || found != want.found || (err != nil) != want.failed {
			t.Errorf("%s: %q, %t, %v", key, obj, found, err)
		}
	}
}
