package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// enabledLabel is on the namespaces that get the motto.
	enabledLabel = "gizmo-name.example.dev/enabled"
	// configMapName is the name of what they get.
	configMapName = "gizmo-name"
)

type reconciler struct {
	client kubernetes.Interface
	motto  string
}

// reconcile brings the world to what one namespace says: here, a ConfigMap with the motto. It is
// called whenever one of them has changed, and again after an error, so it looks at what there is
// and does what is missing.
func (r *reconciler) reconcile(ctx context.Context, key types.NamespacedName) error {
	ns, err := r.client.CoreV1().Namespaces().Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // deleted, with all that was in it
	}
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp != nil || ns.Labels[enabledLabel] != "true" {
		return nil
	}
	maps := r.client.CoreV1().ConfigMaps(ns.Name)
	have, err := maps.Get(ctx, configMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Name:            configMapName,
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ns, corev1.SchemeGroupVersion.WithKind("Namespace"))},
			},
			Data: map[string]string{"motto": r.motto},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil || have.Data["motto"] == r.motto {
		return err
	}
	changed := have.DeepCopy()
	changed.Data = map[string]string{"motto": r.motto}
	_, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
	return err
}
