package resourcequota

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fakediscovery "k8s.io/client-go/discovery/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/pintle-dev/pintle/plugins/internal/quota/quotatest"
	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

func TestDecide(t *testing.T) {
	const young, old = 100 * time.Millisecond, 2 * settle
	for _, tc := range []struct {
		name             string
		hard, was, isNow v1.ResourceList // hard of the spec, used before, counted
		age              time.Duration
		used             string
		write            bool
		again            time.Duration
	}{
		{"new", quotatest.List("pods=5"), nil, quotatest.List("pods=2"), 0, "pods=2", true, settle},
		{"as it was", quotatest.List("pods=5"), quotatest.List("pods=2"), quotatest.List("pods=2"), 0, "pods=2", false, 0},
		{"more", quotatest.List("pods=5"), quotatest.List("pods=2"), quotatest.List("pods=3"), 0, "pods=3", true, 0},
		{"less, but charged just now", quotatest.List("pods=5"), quotatest.List("pods=2"), quotatest.List("pods=1"), young, "pods=2", false, settle - young},
		{"less", quotatest.List("pods=5"), quotatest.List("pods=2"), quotatest.List("pods=1"), old, "pods=1", true, 0},
		{"less of one and more of another", quotatest.List("pods=5", "cpu=5"), quotatest.List("pods=2", "cpu=1"), quotatest.List("pods=1", "cpu=2"), young, "cpu=2 pods=2", true, settle - young},
		{"no longer limited", quotatest.List("pods=5"), quotatest.List("pods=2", "cpu=1"), quotatest.List("pods=2"), 0, "pods=2", true, 0},
		{"not countable now", quotatest.List("pods=5", "secrets=5"), quotatest.List("pods=2", "secrets=1"), quotatest.List("pods=2"), old, "pods=2 secrets=1", false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := &v1.ResourceQuota{Spec: v1.ResourceQuotaSpec{Hard: tc.hard}}
			if tc.was != nil {
				q.Status = v1.ResourceQuotaStatus{Hard: tc.hard, Used: tc.was}
			}
			d := decide(q, tc.isNow, tc.age)
			if quotatest.Show(d.status.Used) != tc.used || d.write != tc.write || d.again != tc.again {
				t.Errorf("used %s, write %v, again %v", quotatest.Show(d.status.Used), d.write, d.again)
			}
		})
	}
	raised := &v1.ResourceQuota{Spec: v1.ResourceQuotaSpec{Hard: quotatest.List("pods=6")}, Status: v1.ResourceQuotaStatus{Hard: quotatest.List("pods=5"), Used: quotatest.List("pods=2")}}
	if d := decide(raised, quotatest.List("pods=2"), old); !d.write || quotatest.Show(d.status.Hard) != "pods=6" {
		t.Errorf("a raised limit: %+v", d)
	}
}

var widgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

func widget(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"},
	}
}

func pod(name, cpu string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"}, Spec: v1.PodSpec{Containers: []v1.Container{{
		Name: "c", Resources: v1.ResourceRequirements{Requests: quotatest.List("cpu=" + cpu)}}}}}
}

// run runs the controller over a fake API with some objects and two widgets.
func run(t *testing.T, objects []runtime.Object, body func(e *controltest.Env, c *Controller, used func() string, meta *metadatafake.FakeMetadataClient)) {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var c *Controller
	var meta *metadatafake.FakeMetadataClient
	controltest.Run(t, objects, func(kit control.Kit) ([]controltest.Runner, error) {
		kit.Client.Discovery().(*fakediscovery.FakeDiscovery).Resources = []*metav1.APIResourceList{
			{GroupVersion: "example.com/v1", APIResources: []metav1.APIResource{{Name: "widgets", Namespaced: true}}},
		}
		meta = metadatafake.NewSimpleMetadataClient(scheme, widget("a"), widget("b"))
		var err error
		c, err = New(kit, meta)
		return []controltest.Runner{c}, err
	}, func(e *controltest.Env) {
		body(e, c, func() string {
			q, err := e.Client.CoreV1().ResourceQuotas("n").Get(e.Ctx, "q", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return quotatest.Show(q.Status.Used)
		}, meta)
	})
}

func newQuota(hard ...string) *v1.ResourceQuota {
	return &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "n"}, Spec: v1.ResourceQuotaSpec{Hard: quotatest.List(hard...)}}
}

func TestCounts(t *testing.T) {
	ended := pod("ended", "1")
	ended.Status.Phase = v1.PodSucceeded
	objects := []runtime.Object{newQuota("pods=5", "count/pods=5", "requests.cpu=5", "count/widgets.example.com=5", "count/nothings.example.com=5", "who/knows=1"), pod("p", "100m"), ended}
	run(t, objects, func(e *controltest.Env, _ *Controller, used func() string, meta *metadatafake.FakeMetadataClient) {
		if got, want := used(), "count/pods=2 count/widgets.example.com=2 pods=1 requests.cpu=100m"; got != want {
			t.Errorf("new:\n got %s\nwant %s", got, want)
		}
		if err := e.Client.CoreV1().Pods("n").Delete(e.Ctx, "p", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := meta.Resource(widgets).Namespace("n").Delete(e.Ctx, "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		e.Pass(2 * settle)
		if got, want := used(), "count/pods=1 count/widgets.example.com=1 pods=0 requests.cpu=0"; got != want {
			t.Errorf("after deletions:\n got %s\nwant %s", got, want)
		}
	})
}

func TestCountsOnlyItsScope(t *testing.T) {
	q := newQuota("pods=5")
	q.Spec.Scopes = []v1.ResourceQuotaScope{v1.ResourceQuotaScopeBestEffort}
	run(t, []runtime.Object{q, pod("p", "100m"), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "n"}}}, func(_ *controltest.Env, _ *Controller, used func() string, _ *metadatafake.FakeMetadataClient) {
		if got := used(); got != "pods=1" {
			t.Errorf("used %s", got)
		}
	})
}

func TestWatchesOnlyWhatQuotasName(t *testing.T) {
	run(t, nil, func(e *controltest.Env, c *Controller, used func() string, _ *metadatafake.FakeMetadataClient) {
		watched := func() int {
			c.monitors.mu.Lock()
			defer c.monitors.mu.Unlock()
			return len(c.monitors.running)
		}
		if n := watched(); n != 0 {
			t.Errorf("without a quota %d types are watched", n)
		}
		quotas := e.Client.CoreV1().ResourceQuotas("n")
		if _, err := quotas.Create(e.Ctx, newQuota("pods=1", "count/widgets.example.com=1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		e.Settle()
		if n := watched(); n != 2 || used() == "" {
			t.Errorf("%d types are watched, used %s", n, used())
		}
		if err := quotas.Delete(e.Ctx, "q", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		e.Settle()
		if n := watched(); n != 0 || len(c.seen) != 0 {
			t.Errorf("with no quota left %d types are watched", n)
		}
	})
}

// A charge whose object never came to be is found out.
func TestVerifiesCharges(t *testing.T) {
	run(t, []runtime.Object{newQuota("pods=5"), pod("p", "1")}, func(e *controltest.Env, _ *Controller, used func() string, _ *metadatafake.FakeMetadataClient) {
		quotas := e.Client.CoreV1().ResourceQuotas("n")
		q, err := quotas.Get(e.Ctx, "q", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		q.ResourceVersion, q.Status.Used = "7", quotatest.List("pods=3")
		if _, err := quotas.UpdateStatus(e.Ctx, q, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		e.Settle()
		if got := used(); got != "pods=3" {
			t.Errorf("at once: used %s", got)
		}
		e.Pass(2 * verify)
		if got := used(); got != "pods=1" {
			t.Errorf("later: used %s", got)
		}
	})
}
