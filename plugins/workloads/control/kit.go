package control

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// Kit is what every controller is built from.
type Kit struct {
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	// Events returns a recorder of events for a component such as "replicaset-controller".
	Events func(component string) record.EventRecorder
	Log    *slog.Logger
}

// Key returns the key "namespace/name" of an object or of the tombstone of one, and
// false for what is neither.
func Key(obj any) (string, bool) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	return key, err == nil
}

// Gone returns the object of a deletion event, from its tombstone if need be.
func Gone[T any](obj any) (T, bool) {
	if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tomb.Obj
	}
	t, ok := obj.(T)
	return t, ok
}

// StatusUpdater is the part of a typed client that writes the status of objects.
type StatusUpdater[T any] interface {
	UpdateStatus(ctx context.Context, obj T, o metav1.UpdateOptions) (T, error)
}

// WriteStatus writes the status of an object. That the object is gone is no error.
func WriteStatus[T any](ctx context.Context, client StatusUpdater[T], obj T) error {
	_, err := client.UpdateStatus(ctx, obj, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write its status: %w", err)
	}
	return nil
}

// PodReady reports whether the pod's Ready condition is true, and since when.
func PodReady(p *v1.Pod) (*v1.PodCondition, bool) {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == v1.PodReady {
			return c, c.Status == v1.ConditionTrue
		}
	}
	return nil, false
}

// PodAvailable reports whether a pod has been ready for as long as it takes to count as
// available. Where it is ready but not available, it also returns how long that will take.
func PodAvailable(p *v1.Pod, minReadySeconds int32, now time.Time) (available bool, left time.Duration) {
	ready, ok := PodReady(p)
	if !ok {
		return false, 0
	}
	left = ready.LastTransitionTime.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
	if minReadySeconds == 0 || (!ready.LastTransitionTime.IsZero() && left <= 0) {
		return true, 0
	}
	return false, max(left, time.Millisecond)
}

// PodActive reports whether a pod counts as a replica: it has not finished and is not
// being deleted.
func PodActive(p *v1.Pod) bool {
	return !PodFinished(p) && p.DeletionTimestamp == nil
}

// PodFinished reports whether all containers of a pod have ended for good.
func PodFinished(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}
