package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	v1 "github.com/pintle-dev/pintle/cmd/pintle/internal/scaffold/projects/resource/api/v1"
)

// fieldManager owns the fields that the controller sets.
const fieldManager = "gizmo-name"

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

type reconciler struct {
	client   dynamic.Interface
	greeting string
}

// reconcile brings the world to what one Gizmo says: here, a ConfigMap and a status. It is called
// whenever one of them has changed, and again after an error, so it looks at what there is and
// does what is missing.
func (r *reconciler) reconcile(ctx context.Context, key types.NamespacedName) error {
	u, err := r.client.Resource(v1.Gizmos).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // deleted; the ConfigMap goes with its owner
	}
	if err != nil {
		return err
	}
	var g v1.Gizmo
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &g); err != nil {
		return err
	}
	if g.DeletionTimestamp != nil {
		return nil
	}
	wanted := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "gizmo-" + g.Name, Namespace: g.Namespace,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&g, v1.GroupVersion.WithKind("Gizmo"))},
		},
		Data: map[string]string{"message": fmt.Sprintf("%s from a %s gizmo of size %d", r.greeting, g.Spec.Colour, g.Spec.Size)},
	}
	if err := r.apply(ctx, configMaps, wanted, ""); err != nil {
		return fmt.Errorf("config map %s: %w", wanted.Name, err)
	}
	status := &v1.Gizmo{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: "Gizmo"},
		ObjectMeta: metav1.ObjectMeta{Name: g.Name, Namespace: g.Namespace},
		Status:     v1.GizmoStatus{Phase: "Ready", ConfigMap: wanted.Name, ObservedGeneration: g.Generation},
	}
	if g.Status == status.Status {
		return nil
	}
	return r.apply(ctx, v1.Gizmos, status, "status")
}

// apply is a server-side apply: it sets the fields that are there and no others.
func (r *reconciler) apply(ctx context.Context, gvr schema.GroupVersionResource, object metav1.Object, subresource string) error {
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	if subresource == "status" {
		delete(tree, "spec")
	}
	client := r.client.Resource(gvr).Namespace(object.GetNamespace())
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if subresource == "status" {
		_, err = client.ApplyStatus(ctx, object.GetName(), &unstructured.Unstructured{Object: tree}, options)
	} else {
		_, err = client.Apply(ctx, object.GetName(), &unstructured.Unstructured{Object: tree}, options)
	}
	return err
}
