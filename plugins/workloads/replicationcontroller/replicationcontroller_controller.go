package replicationcontroller

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/replicas"
)

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*replicas.Controller, error) {
	rcs := kit.Informers.Core().V1().ReplicationControllers()
	return replicas.New(kit, replicas.Options{
		GVK: v1.SchemeGroupVersion.WithKind("ReplicationController"), Name: "replicationcontroller", Component: "replication-controller",
		Informer: rcs.Informer(), Kind: kind{client: kit.Client, rcs: rcs.Lister()},
	})
}

// kind is the kind ReplicationController.
type kind struct {
	client kubernetes.Interface
	rcs    corelisters.ReplicationControllerLister
}

var _ replicas.Kind = kind{}

// Get satisfies replicas.Kind.
func (k kind) Get(namespace, name string) (replicas.Set, error) {
	rc, err := k.rcs.ReplicationControllers(namespace).Get(name)
	if err != nil {
		return replicas.Set{}, err
	}
	return view(rc), nil
}

// Selecting satisfies replicas.Kind.
func (k kind) Selecting(p *v1.Pod) ([]replicas.Set, error) {
	rcs, err := k.rcs.GetPodControllers(p)
	return replicas.Sets(rcs, view), err
}

// Live satisfies replicas.Kind.
func (k kind) Live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return k.client.CoreV1().ReplicationControllers(namespace).Get(ctx, name, metav1.GetOptions{})
}

// UpdateStatus satisfies replicas.Kind.
func (k kind) UpdateStatus(ctx context.Context, set replicas.Set, status appsv1.ReplicaSetStatus) error {
	next := *set.Origin.(*v1.ReplicationController)
	before := next.Status
	next.Status = statusFrom(status)
	if apiequality.Semantic.DeepEqual(before, next.Status) {
		// What differs has no place here.
		return nil
	}
	_, err := k.client.CoreV1().ReplicationControllers(set.Namespace).UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	return err
}
