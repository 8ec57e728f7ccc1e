package garbage_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	fakediscovery "k8s.io/client-go/discovery/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/garbage"
)

var (
	group    = schema.GroupVersion{Group: "example.com", Version: "v1"}
	things   = group.WithResource("things")
	clusters = group.WithResource("clusterthings")
)

func thing(name string, owners ...metav1.OwnerReference) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: group.String(), Kind: "Thing"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), OwnerReferences: owners},
	}
}

func owner(name string, change ...func(*metav1.OwnerReference)) metav1.OwnerReference {
	r := metav1.OwnerReference{APIVersion: group.String(), Kind: "Thing", Name: name, UID: types.UID("uid-" + name)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func blocking(r *metav1.OwnerReference) {
	yes := true
	r.BlockOwnerDeletion = &yes
}

func deleting(o *metav1.PartialObjectMetadata, finalizer string) *metav1.PartialObjectMetadata {
	now := metav1.NewTime(time.Unix(1, 0))
	o.DeletionTimestamp, o.Finalizers = &now, []string{finalizer}
	return o
}

// discovered is a discovery whose answer changes while it is asked.
type discovered struct {
	*fakediscovery.FakeDiscovery
	mu sync.Mutex
}

func (d *discovered) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.FakeDiscovery.ServerGroupsAndResources()
}

func (d *discovered) add(list *metav1.APIResourceList) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Resources = append(d.Resources, list)
}

// env is a garbage collector over a fake API in virtual time.
type env struct {
	client *metadatafake.FakeMetadataClient
	disco  *discovered
	ctx    context.Context
}

func run(t *testing.T, objects []*metav1.PartialObjectMetadata, body func(e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scheme := metadatafake.NewTestScheme()
		if err := metav1.AddMetaToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		list := make([]runtime.Object, len(objects))
		for i, o := range objects {
			list[i] = o
		}
		e := &env{client: metadatafake.NewSimpleMetadataClient(scheme, list...)}
		verbs := metav1.Verbs{"get", "list", "watch", "delete", "patch"}
		e.disco = &discovered{FakeDiscovery: &fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: []*metav1.APIResourceList{{
			GroupVersion: group.String(), APIResources: []metav1.APIResource{
				{Name: "things", Kind: "Thing", Namespaced: true, Verbs: verbs},
				{Name: "clusterthings", Kind: "ClusterThing", Verbs: verbs},
				{Name: "things/status", Kind: "Thing", Namespaced: true, Verbs: metav1.Verbs{"get"}},
			},
		}}}}}
		ctx, cancel := context.WithCancel(t.Context())
		e.ctx = ctx
		c := garbage.New(control.Kit{Log: slog.New(slog.DiscardHandler)}, e.disco, e.client, nil)
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		e.settle()
		body(e)
	})
}

// settle lets a second of virtual time pass, so that retries happen.
func (e *env) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func (e *env) names() []string {
	var out []string
	for _, r := range []schema.GroupVersionResource{things, clusters} {
		list, err := e.client.Resource(r).Namespace("").List(e.ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, o := range list.Items {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (e *env) delete(name string) {
	if err := e.client.Resource(things).Namespace("default").Delete(e.ctx, name, metav1.DeleteOptions{}); err != nil {
		panic(err)
	}
	e.settle()
}

func (e *env) get(name string) *metav1.PartialObjectMetadata {
	o, err := e.client.Resource(things).Namespace("default").Get(e.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return o
}

func TestCollects(t *testing.T) {
	clusterScoped := thing("cluster", owner("a"))
	clusterScoped.Kind, clusterScoped.Namespace = "ClusterThing", ""
	wrongKind := owner("a", func(r *metav1.OwnerReference) { r.Kind = "ClusterThing" })
	tests := []struct {
		name    string
		objects []*metav1.PartialObjectMetadata
		delete  []string
		want    []string
	}{
		{"nothing without owners", []*metav1.PartialObjectMetadata{thing("a"), thing("b", owner("a"))}, nil, []string{"a", "b"}},
		{"dependents in the background, transitively", []*metav1.PartialObjectMetadata{thing("a"), thing("b", owner("a")), thing("c", owner("b"))}, []string{"a"}, nil},
		{"what never had an owner that exists", []*metav1.PartialObjectMetadata{thing("b", owner("a"))}, nil, nil},
		{"not while another owner is there", []*metav1.PartialObjectMetadata{thing("a"), thing("x"), thing("b", owner("a"), owner("x"))}, []string{"a"}, []string{"b", "x"}},
		{"when the last owner goes", []*metav1.PartialObjectMetadata{thing("a"), thing("x"), thing("b", owner("a"), owner("x"))}, []string{"a", "x"}, nil},
		{"what belongs to the cluster can't be owned from a namespace", []*metav1.PartialObjectMetadata{thing("a"), clusterScoped}, nil, []string{"a"}},
		{"a reference of the wrong kind names nobody", []*metav1.PartialObjectMetadata{thing("a"), thing("b", wrongKind)}, nil, []string{"a"}},
		{"nothing of an unknown kind", []*metav1.PartialObjectMetadata{thing("b", owner("a", func(r *metav1.OwnerReference) { r.Kind = "Unknown" }))}, nil, []string{"b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, tt.objects, func(e *env) {
				for _, name := range tt.delete {
					e.delete(name)
				}
				if got := e.names(); !slices.Equal(got, tt.want) {
					t.Errorf("left: %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestLateDependents makes dependents of an owner whose absence is known already.
func TestLateDependents(t *testing.T) {
	held := deleting(thing("held", owner("gone")), "example.com/hold")
	run(t, []*metav1.PartialObjectMetadata{held, thing("early", owner("gone"))}, func(e *env) {
		if err := e.client.Tracker().Create(things, thing("late", owner("gone")), "default"); err != nil {
			t.Fatal(err)
		}
		e.settle()
		if got := e.names(); !slices.Equal(got, []string{"held"}) {
			t.Errorf("left: %v", got)
		}
	})
}

func TestDropsReferencesToOwnersThatAreGone(t *testing.T) {
	run(t, []*metav1.PartialObjectMetadata{thing("a"), thing("x"), thing("b", owner("a"), owner("x"))}, func(e *env) {
		e.delete("a")
		if refs := e.get("b").OwnerReferences; len(refs) != 1 || refs[0].Name != "x" {
			t.Errorf("references: %+v", refs)
		}
	})
}

func TestOrphans(t *testing.T) {
	a := deleting(thing("a"), metav1.FinalizerOrphanDependents)
	run(t, []*metav1.PartialObjectMetadata{a, thing("b", owner("a")), thing("c", owner("b"))}, func(e *env) {
		if f := e.get("a").Finalizers; len(f) != 0 {
			t.Errorf("finalizers: %v", f)
		}
		if refs := e.get("b").OwnerReferences; len(refs) != 0 {
			t.Errorf("references: %v", refs)
		}
		e.delete("a") // as a server does when the last finalizer is off
		if got := e.names(); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("left: %v", got)
		}
	})
}

func TestForegroundDeletesDependentsFirst(t *testing.T) {
	a := deleting(thing("a"), metav1.FinalizerDeleteDependents)
	held := deleting(thing("held", owner("a", blocking)), "example.com/hold")
	run(t, []*metav1.PartialObjectMetadata{a, held, thing("b", owner("a", blocking)), thing("c", owner("a"))}, func(e *env) {
		if got := e.names(); !slices.Equal(got, []string{"a", "held"}) {
			t.Errorf("left: %v", got)
		}
		if f := e.get("a").Finalizers; len(f) != 1 {
			t.Errorf("the owner is let go while a dependent blocks it: %v", f)
		}
		e.delete("held")
		if f := e.get("a").Finalizers; len(f) != 0 {
			t.Errorf("the owner is not let go: %v", f)
		}
	})
}

func TestWatchesTypesAsTheyAppear(t *testing.T) {
	run(t, []*metav1.PartialObjectMetadata{thing("a")}, func(e *env) {
		late := schema.GroupVersion{Group: "late.example.com", Version: "v1"}
		e.disco.add(&metav1.APIResourceList{
			GroupVersion: late.String(), APIResources: []metav1.APIResource{
				{Name: "widgets", Kind: "Widget", Namespaced: true, Verbs: metav1.Verbs{"get", "list", "watch", "delete", "patch"}},
			},
		})
		w := thing("w", owner("a"))
		w.APIVersion, w.Kind = late.String(), "Widget"
		if err := e.client.Tracker().Create(late.WithResource("widgets"), w, "default"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second) // virtual: until the next look at what is served
		e.settle()
		e.delete("a")
		if _, err := e.client.Resource(late.WithResource("widgets")).Namespace("default").Get(e.ctx, "w", metav1.GetOptions{}); err == nil {
			t.Error("the dependent of a type that appeared later is left")
		}
	})
}

// TestLeavesWhatHasAnOwner makes random graphs and deletes some objects: in the end
// exactly those are left that never had an owner or still have one that is left.
func TestLeavesWhatHasAnOwner(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(rt, "objects")
		owners := map[string][]string{}
		var objects []*metav1.PartialObjectMetadata
		for i := range n {
			name := fmt.Sprint("o", i)
			var refs []metav1.OwnerReference
			// Owners may be older, younger (circles), or among the two that always go.
			for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, n+1), 0, 3, rapid.ID).Draw(rt, "owners") {
				owners[name] = append(owners[name], fmt.Sprint("o", j))
				refs = append(refs, owner(fmt.Sprint("o", j)))
			}
			objects = append(objects, thing(name, refs...))
		}
		deleted := append(rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, n, rapid.ID).Draw(rt, "deleted"), n, n+1)
		// The fake API has no history: what happens between a list and its watch is lost.
		// So all is there at first, and deletions begin when the watches stand.
		objects = append(objects, thing(fmt.Sprint("o", n)), thing(fmt.Sprint("o", n+1)))
		left := map[string]bool{}
		for i := range n {
			left[fmt.Sprint("o", i)] = true
		}
		for _, i := range deleted {
			delete(left, fmt.Sprint("o", i))
		}
		for changed := true; changed; {
			changed = false
			for name := range left {
				if len(owners[name]) > 0 && !slices.ContainsFunc(owners[name], func(o string) bool { return left[o] }) {
					delete(left, name)
					changed = true
				}
			}
		}
		var got []string
		run(t, objects, func(e *env) {
			for _, i := range deleted {
				// It may have been collected already.
				_ = e.client.Resource(things).Namespace("default").Delete(e.ctx, fmt.Sprint("o", i), metav1.DeleteOptions{})
			}
			e.settle()
			got = e.names()
		})
		want := make([]string, 0, len(left))
		for name := range left {
			want = append(want, name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("left: %v, want %v", got, want)
		}
	})
}
