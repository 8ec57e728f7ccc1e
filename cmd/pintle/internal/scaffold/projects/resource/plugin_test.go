package main

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	v1 "github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold/projects/resource/api/v1"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func gizmo(spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": v1.GroupVersion.String(), "kind": "Gizmo",
		"metadata": map[string]any{"name": "one", "namespace": "default"}, "spec": spec,
	}
}

// The suites of plugintest hold the plugin to what every host relies on.
func TestResourceContract(t *testing.T) {
	plugintest.RunResource(t, plugintest.ResourceCase{
		New: func() plugintest.Bundle { return &Plugin{} },
		Valid: []map[string]any{
			gizmo(map[string]any{"size": int64(3)}),
			gizmo(map[string]any{"size": int64(3), "colour": "blue"}),
		},
		Invalid: map[string]map[string]any{
			"spec.size":   gizmo(map[string]any{"size": int64(0)}),
			"spec.colour": gizmo(map[string]any{"size": int64(3), "colour": "mauve"}),
			"spec.weight": gizmo(map[string]any{"size": int64(3), "weight": int64(1)}),
		},
	})
}

func TestControllerContract(t *testing.T) {
	plugintest.RunController(t, plugintest.ControllerCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"greeting":""}`: "settings.greeting", `{"greetings":"x"}`: "settings.greetings",
		}},
		New: func() controller.Controller { return &Plugin{} },
	})
}

func TestSizeMayNotShrink(t *testing.T) {
	r := &resource.Request{
		Operation: resource.Update,
		Object:    gizmo(map[string]any{"size": int64(2)}),
		Old:       gizmo(map[string]any{"size": int64(3)}),
	}
	errs := hooks{}.Validate(t.Context(), r)
	if len(errs) != 1 || errs[0].Type != field.ErrorTypeForbidden || errs[0].Field != "spec.size" {
		t.Errorf("got %v", errs)
	}
	r.Object, r.Old = r.Old, r.Object
	if errs := (hooks{}).Validate(t.Context(), r); len(errs) > 0 {
		t.Errorf("growing is refused: %v", errs)
	}
}

func TestReconcile(t *testing.T) {
	g := &unstructured.Unstructured{Object: gizmo(map[string]any{"size": int64(3), "colour": "green"})}
	g.SetUID("uid-1")
	g.SetGeneration(7)
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{v1.Gizmos: "GizmoList", configMaps: "ConfigMapList"}, g)
	client.PrependReactor("patch", "*", applyTo(client.Tracker()))
	r := &reconciler{client: client, greeting: "Moin"}
	key := types.NamespacedName{Namespace: "default", Name: "one"}
	for range 2 { // what is there already is left alone
		if err := r.reconcile(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	var made corev1.ConfigMap
	get(t, client.Resource(configMaps).Namespace("default").Get, "gizmo-one", &made)
	if got := made.Data["message"]; got != "Moin from a green gizmo of size 3" {
		t.Errorf("message %q", got)
	}
	if len(made.OwnerReferences) != 1 || made.OwnerReferences[0].UID != "uid-1" {
		t.Errorf("owners: %v", made.OwnerReferences)
	}
	var now v1.Gizmo
	get(t, client.Resource(v1.Gizmos).Namespace("default").Get, "one", &now)
	if want := (v1.GizmoStatus{Phase: "Ready", ConfigMap: "gizmo-one", ObservedGeneration: 7}); now.Status != want {
		t.Errorf("status %+v", now.Status)
	}
	if now.Spec.Size != 3 {
		t.Errorf("the spec was changed: %+v", now.Spec)
	}
	if err := r.reconcile(t.Context(), types.NamespacedName{Namespace: "default", Name: "gone"}); err != nil {
		t.Errorf("a Gizmo that is gone: %v", err)
	}
}

func get(t *testing.T, from getter, name string, into any) {
	t.Helper()
	u, err := from(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into); err != nil {
		t.Fatal(err)
	}
}

type getter func(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)

// applyTo does for server-side apply what the fake client does not: it creates what is not there,
// and sets the parts that are applied.
func applyTo(tracker clienttesting.ObjectTracker) clienttesting.ReactionFunc {
	return func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch, ok := a.(clienttesting.PatchAction)
		if !ok || patch.GetPatchType() != types.ApplyPatchType {
			return false, nil, nil
		}
		applied := &unstructured.Unstructured{}
		if err := applied.UnmarshalJSON(patch.GetPatch()); err != nil {
			return true, nil, err
		}
		have, err := tracker.Get(a.GetResource(), a.GetNamespace(), patch.GetName())
		if apierrors.IsNotFound(err) {
			return true, applied, tracker.Create(a.GetResource(), applied, a.GetNamespace())
		}
		now, ok := have.(*unstructured.Unstructured)
		if err != nil || !ok {
			return true, nil, err
		}
		now = now.DeepCopy()
		for part, value := range applied.Object {
			if part != "metadata" {
				now.Object[part] = value
			}
		}
		return true, now, tracker.Update(a.GetResource(), now, a.GetNamespace())
	}
}
