package namespace_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fakediscovery "k8s.io/client-go/discovery/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/namespace"
)

func object(kind, ns, name string, finalizers ...string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Finalizers: finalizers},
	}
}

func TestEmptiesANamespacePodsFirst(t *testing.T) {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := metadatafake.NewSimpleMetadataClient(scheme,
		object("Pod", "going", "p"), object("ConfigMap", "going", "c"), object("ConfigMap", "going", "held", "example.com/f"), object("ConfigMap", "staying", "c"))
	var podsStay atomic.Bool
	podsStay.Store(true)
	client.PrependReactor("delete-collection", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		for _, name := range []string{"p", "c"} {
			if name == "p" && podsStay.Load() {
				continue
			}
			// What is of another type is not found.
			_ = client.Tracker().Delete(action.GetResource(), action.GetNamespace(), name)
		}
		return true, nil, nil
	})
	verbs := metav1.Verbs{"get", "list", "delete", "deletecollection"}
	disco := &fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, Verbs: verbs}, {Name: "pods", Kind: "Pod", Namespaced: true, Verbs: verbs},
		{Name: "nodes", Kind: "Node", Verbs: verbs}, {Name: "bindings", Kind: "Binding", Namespaced: true, Verbs: metav1.Verbs{"create"}},
	}}}}}
	build := func(kit control.Kit) ([]controltest.Runner, error) {
		c, err := namespace.New(kit, disco, client)
		return []controltest.Runner{c}, err
	}
	ns := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "going"}, Spec: v1.NamespaceSpec{Finalizers: []v1.FinalizerName{v1.FinalizerKubernetes}}}
	left := func(e *controltest.Env, resource string) []string {
		list, err := client.Resource(v1.SchemeGroupVersion.WithResource(resource)).Namespace("going").List(e.Ctx, metav1.ListOptions{})
		if err != nil {
			e.Fatal(err)
		}
		out := []string{}
		for _, o := range list.Items {
			out = append(out, o.Name)
		}
		return out
	}
	condition := func(e *controltest.Env, t v1.NamespaceConditionType) string {
		ns := controltest.Get(e, e.Client.CoreV1().Namespaces(), "going")
		for _, c := range ns.Status.Conditions {
			if c.Type == t {
				return string(c.Status) + " " + c.Reason + " " + c.Message
			}
		}
		return ""
	}
	finalized := func(e *controltest.Env) bool {
		return slices.ContainsFunc(e.Client.Actions(), func(a clienttesting.Action) bool {
			return a.Matches("create", "namespaces/finalize") || a.Matches("update", "namespaces/finalize")
		})
	}
	controltest.Run(t, []runtime.Object{ns}, build, func(e *controltest.Env) {
		if len(left(e, "pods")) != 1 {
			e.Fatal("a namespace that is not being deleted is emptied")
		}
		now := metav1.Now()
		ns := ns.DeepCopy()
		ns.DeletionTimestamp = &now
		controltest.Update(e, e.Client.CoreV1().Namespaces(), ns)
		e.Settle()
		if got := left(e, "configmaps"); len(got) != 2 {
			e.Errorf("while a pod runs, ConfigMaps are deleted: %v left", got)
		}
		if got := condition(e, v1.NamespaceContentRemaining); got != "True SomeResourcesRemain Some resources are remaining: pods. has 1 resource instances" {
			e.Errorf("condition: %s", got)
		}
		podsStay.Store(false)
		e.Pass(time.Second)
		if pods, maps := left(e, "pods"), left(e, "configmaps"); len(pods) != 0 || !slices.Equal(maps, []string{"held"}) {
			e.Errorf("left: %v, %v", pods, maps)
		}
		if got := condition(e, v1.NamespaceFinalizersRemaining); !strings.HasSuffix(got, "example.com/f in 1 resource instances") {
			e.Errorf("condition: %s", got)
		}
		if finalized(e) {
			e.Error("it is let go while an object is left")
		}
		if err := client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("configmaps"), "going", "held"); err != nil {
			e.Fatal(err)
		}
		e.Pass(time.Minute)
		if !finalized(e) {
			e.Error("it is not let go")
		}
		if _, err := client.Resource(v1.SchemeGroupVersion.WithResource("configmaps")).Namespace("staying").Get(e.Ctx, "c", metav1.GetOptions{}); err != nil {
			e.Error(err)
		}
	})
}
