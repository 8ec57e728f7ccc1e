package replicas

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Set is an object that asks for replicas.
type Set struct {
	// ReplicaSet is what it asks for. It may be shared and must not be changed.
	*appsv1.ReplicaSet
	// Origin is the object itself, for events.
	Origin runtime.Object
}

// Sets returns what each of some objects asks for.
func Sets[T any](objs []T, view func(obj T) Set) []Set {
	out := make([]Set, len(objs))
	for i, obj := range objs {
		out[i] = view(obj)
	}
	return out
}

// Kind is a kind of objects that ask for replicas.
type Kind interface {
	// Get returns an object from the cache, or an error that apierrors.IsNotFound knows.
	Get(namespace, name string) (Set, error)
	// Selecting returns the objects whose selector matches a pod, an error where none does.
	Selecting(p *v1.Pod) ([]Set, error)
	// Live reads an object from the API server.
	Live(ctx context.Context, namespace, name string) (metav1.Object, error)
	// UpdateStatus writes the status of an object as it was in the cache.
	UpdateStatus(ctx context.Context, set Set, status appsv1.ReplicaSetStatus) error
}

// Options say what a controller of replicas works on.
type Options struct {
	// GVK names the kind in owner references.
	GVK schema.GroupVersionKind
	// Name is that of the controller in logs, such as "replicaset".
	Name string
	// Component is that of events, such as "replicaset-controller".
	Component string
	// Informer watches the objects.
	Informer cache.SharedIndexInformer
	Kind     Kind
}
