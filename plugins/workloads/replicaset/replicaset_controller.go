package replicaset

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/replicas"
)

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*replicas.Controller, error) {
	sets := kit.Informers.Apps().V1().ReplicaSets()
	return replicas.New(kit, replicas.Options{
		GVK: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), Name: "replicaset", Component: "replicaset-controller",
		Informer: sets.Informer(), Kind: kind{client: kit.Client, sets: sets.Lister()},
	})
}

// kind is the kind ReplicaSet.
type kind struct {
	client kubernetes.Interface
	sets   appslisters.ReplicaSetLister
}

var _ replicas.Kind = kind{}

// Get satisfies replicas.Kind.
func (k kind) Get(namespace, name string) (replicas.Set, error) {
	rs, err := k.sets.ReplicaSets(namespace).Get(name)
	return view(rs), err
}

// Selecting satisfies replicas.Kind.
func (k kind) Selecting(p *v1.Pod) ([]replicas.Set, error) {
	sets, err := k.sets.GetPodReplicaSets(p)
	return replicas.Sets(sets, view), err
}

func view(rs *appsv1.ReplicaSet) replicas.Set { return replicas.Set{ReplicaSet: rs, Origin: rs} }

// Live satisfies replicas.Kind.
func (k kind) Live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return k.client.AppsV1().ReplicaSets(namespace).Get(ctx, name, metav1.GetOptions{})
}

// UpdateStatus satisfies replicas.Kind.
func (k kind) UpdateStatus(ctx context.Context, set replicas.Set, status appsv1.ReplicaSetStatus) error {
	next := *set.ReplicaSet
	next.Status = status
	_, err := k.client.AppsV1().ReplicaSets(set.Namespace).UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	return err
}
