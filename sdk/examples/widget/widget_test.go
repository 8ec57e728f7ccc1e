package main

import (
	"context"
	"io"
	"log/slog"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

func widget(spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "example.dev/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "w", "namespace": "default"}, "spec": spec,
	}
}

func TestResourceContract(t *testing.T) {
	plugintest.RunResource(t, plugintest.ResourceCase{
		New: func() plugintest.Bundle { return newPlugin() },
		Valid: []map[string]any{
			widget(map[string]any{"size": int64(3)}),
			widget(map[string]any{"size": int64(3), "spare": int64(2), "colour": "blue"}),
		},
		Invalid: map[string]map[string]any{
			"spec.size":   widget(map[string]any{"size": int64(0)}),
			"spec.spare":  widget(map[string]any{"size": int64(3), "spare": int64(3)}),
			"spec.colour": widget(map[string]any{"size": int64(3), "colour": "mauve"}),
			"spec.weight": widget(map[string]any{"size": int64(3), "weight": int64(1)}),
		},
	})
}

func TestControllerContract(t *testing.T) {
	plugintest.RunController(t, plugintest.ControllerCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"greeting":""}`: "settings.greeting", `{"greetings":"x"}`: "settings.greetings",
		}},
		New: func() controller.Controller { return newPlugin() },
	})
}

func TestReconcile(t *testing.T) {
	w := &unstructured.Unstructured{Object: widget(map[string]any{"size": int64(3), "colour": "green"})}
	w.SetUID("uid-1")
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{gvr: "WidgetList", configMaps: "ConfigMapList"}, w)
	r := &reconciler{client: client, greeting: "Moin", log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx := context.Background()
	key := types.NamespacedName{Namespace: "default", Name: "w"}
	message := func() string {
		t.Helper()
		if err := r.reconcile(ctx, key); err != nil {
			t.Fatal(err)
		}
		cm, err := client.Resource(configMaps).Namespace("default").Get(ctx, "widget-w", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if owners := cm.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != "uid-1" {
			t.Errorf("owners: %v", owners)
		}
		got, _, _ := unstructured.NestedString(cm.Object, "data", "message")
		return got
	}
	if got := message(); got != "Moin from a green widget of size 3" {
		t.Errorf("message %q", got)
	}
	now, err := client.Resource(gvr).Namespace("default").Get(ctx, "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if phase, _, _ := unstructured.NestedString(now.Object, "status", "phase"); phase != "Ready" {
		t.Errorf("phase %q", phase)
	}
	if err := unstructured.SetNestedField(now.Object, int64(5), "spec", "size"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resource(gvr).Namespace("default").Update(ctx, now, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := message(); got != "Moin from a green widget of size 5" {
		t.Errorf("message after a change %q", got)
	}
	if err := r.reconcile(ctx, types.NamespacedName{Namespace: "default", Name: "gone"}); err != nil {
		t.Errorf("a widget that is gone: %v", err)
	}
}
