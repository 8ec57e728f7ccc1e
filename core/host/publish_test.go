package host_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pintle-dev/pintle/core/host"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
)

func TestPluginObjectsShowAndRestartPlugins(t *testing.T) {
	scheme := runtime.NewScheme()
	client := fake.NewSimpleDynamicClientWithCustomListKinds(scheme,
		map[schema.GroupVersionResource]string{host.Resource(): "PluginList"},
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "core.pintle.dev/v1", "kind": "Plugin",
			"metadata": map[string]any{"name": "gone", "labels": map[string]any{
				"core.pintle.dev/plugin": "gone", "core.pintle.dev/host": "server",
			}},
		}})
	off := spec(t, "controller", "off")
	off.Disabled = true
	r := startWith(t, nil, func(h *host.Host) { h.PublishTo(client) }, spec(t, "controller", "steady"), off)
	st := r.wait(t, "steady", healthy)
	plugins := client.Resource(host.Resource())

	object := func(name string, f func(u *unstructured.Unstructured) bool) *unstructured.Unstructured {
		t.Helper()
		var u *unstructured.Unstructured
		eventually(t, patience, "object "+name, func() bool {
			var err error
			u, err = plugins.Get(r.ctx, name, metav1.GetOptions{})
			return err == nil && f(u)
		})
		return u
	}
	health := func(want string) func(u *unstructured.Unstructured) bool {
		return func(u *unstructured.Unstructured) bool {
			got, _, _ := unstructured.NestedString(u.Object, "status", "health")
			return got == want
		}
	}
	u := object("steady", health("Healthy"))
	if pid, _, _ := unstructured.NestedInt64(u.Object, "status", "pid"); pid != int64(st.PID) {
		t.Errorf("pid %d, want %d", pid, st.PID)
	}
	object("off", health("Disabled"))
	eventually(t, patience, "removal of an object that is not in the catalogue", func() bool {
		_, err := plugins.Get(r.ctx, "gone", metav1.GetOptions{})
		return err != nil
	})

	// The first value seen is no request; another one is. What the host owns is put back.
	patch := `{"spec":{"restartedAt":"` + time.Now().UTC().Format(time.RFC3339) + `","placement":"moon"}}`
	if _, err := plugins.Patch(r.ctx, "steady", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "steady", healthyAgain(1))
	object("steady", func(u *unstructured.Unstructured) bool {
		n, _, _ := unstructured.NestedInt64(u.Object, "status", "restarts")
		last, _, _ := unstructured.NestedStringSlice(u.Object, "status", "lastOutput")
		placement, _, _ := unstructured.NestedString(u.Object, "spec", "placement")
		return n == 1 && strings.Contains(strings.Join(last, "\n"), "controller is at work") && placement == "process"
	})

	if err := plugins.Delete(r.ctx, "steady", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	object("steady", health("Healthy"))
	r.stop()
	object("steady", health("Stopped"))
}

func TestPluginObjectsFitTheirOwnSchema(t *testing.T) {
	d := host.Definitions()[0]
	if d.GroupResource() != host.Resource().GroupResource() || d.StorageVersion() == nil {
		t.Fatalf("definition: %+v", d)
	}
	s, err := d.StorageVersion().Schema()
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := crdschema.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	st := host.Status{
		Object: "a", Name: "a", Version: "1", Description: "d", Placement: host.Process, PID: 7,
		Health: host.HealthBackOff, Restarts: 2, Reason: "r", Circuit: host.CircuitOpen,
		NextStart: time.Now(), StartedAt: time.Now(), LastReason: "l", LastOutput: []string{"x"},
		LastExit: &host.Exit{At: time.Now(), Code: -1, Signal: "killed"}, Panic: "p", LogFile: "/l",
		SHA256: "00", Digest: "sha256:00", SignedBy: "k", Types: []string{"widgets.example.dev"}, ObservedGeneration: 3,
		Conditions: []host.Condition{{Type: host.ConditionGranted, Reason: "Pending", Message: "m", Since: time.Now()}},
		History:    []host.Revision{{Number: 1, Version: "1", State: host.RevisionServing, At: time.Now(), Spec: map[string]any{"version": "1"}}},
	}
	sp := host.Spec{Name: "a", Path: "/b", Args: []string{"x"}, SHA256: "00", NodeScoped: true, Disabled: true, Placement: host.Process}
	object := map[string]any{
		"apiVersion": "core.pintle.dev/v1", "kind": "Plugin", "metadata": map[string]any{"name": "a"},
		"spec": host.SpecTree(&sp, "node-1"), "status": host.StatusTree(&st),
	}
	if unknown := compiled.Prune(object); len(unknown) > 0 {
		t.Errorf("the schema lacks %v", unknown)
	}
	if errs := compiled.Validate(t.Context(), object, nil); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}
