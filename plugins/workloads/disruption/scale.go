package disruption

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/scale"
)

// owner is what keeps pods, and how many of them it wants.
type owner struct {
	uid   types.UID
	scale int32
}

// owners finds what keeps a pod.
type owners struct {
	sets        appslisters.ReplicaSetLister
	deployments appslisters.DeploymentLister
	stateful    appslisters.StatefulSetLister
	controllers corelisters.ReplicationControllerLister
	discovery   discovery.DiscoveryInterface
}

// expected adds up how many pods the owners of some pods ask for. Pods without an owner
// are returned.
func (o *owners) expected(ctx context.Context, pods []*v1.Pod) (sum int32, unmanaged []string, err error) {
	seen, added := map[types.UID]bool{}, map[types.UID]bool{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged = append(unmanaged, p.Name)
			continue
		}
		if seen[ref.UID] {
			continue
		}
		seen[ref.UID] = true
		found, err := o.find(ctx, ref, p.Namespace)
		if err != nil {
			return 0, nil, err
		}
		if found == nil {
			return 0, nil, fmt.Errorf("found no controllers for pod %q", p.Name)
		}
		// The ReplicaSets of a Deployment lead to it, each of them.
		if !added[found.uid] {
			added[found.uid] = true
			sum += found.scale
		}
	}
	return sum, unmanaged, nil
}

// find returns nil where the owner is gone.
func (o *owners) find(ctx context.Context, ref *metav1.OwnerReference, namespace string) (*owner, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	switch (schema.GroupKind{Group: gv.Group, Kind: ref.Kind}) {
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"}:
		rs, err := o.sets.ReplicaSets(namespace).Get(ref.Name)
		if err != nil || rs.UID != ref.UID {
			return nil, ignoreNotFound(err)
		}
		if up := metav1.GetControllerOfNoCopy(rs); up != nil {
			return o.above(ctx, rs, up)
		}
		return &owner{rs.UID, replicas(rs.Spec.Replicas)}, nil
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "StatefulSet"}:
		set, err := o.stateful.StatefulSets(namespace).Get(ref.Name)
		if err != nil || set.UID != ref.UID {
			return nil, ignoreNotFound(err)
		}
		return &owner{set.UID, replicas(set.Spec.Replicas)}, nil
	case schema.GroupKind{Kind: "ReplicationController"}:
		rc, err := o.controllers.ReplicationControllers(namespace).Get(ref.Name)
		if err != nil || rc.UID != ref.UID {
			return nil, ignoreNotFound(err)
		}
		return &owner{rc.UID, replicas(rc.Spec.Replicas)}, nil
	}
	return o.scaled(ctx, gv, ref, namespace)
}

// above is the owner of a ReplicaSet that has one.
func (o *owners) above(ctx context.Context, rs *appsv1.ReplicaSet, up *metav1.OwnerReference) (*owner, error) {
	gv, err := schema.ParseGroupVersion(up.APIVersion)
	if err != nil {
		return nil, err
	}
	if gv.Group != appsv1.GroupName || up.Kind != "Deployment" {
		// Somebody else's; the ReplicaSet's own number is the one to go by.
		return &owner{rs.UID, replicas(rs.Spec.Replicas)}, nil
	}
	d, err := o.deployments.Deployments(rs.Namespace).Get(up.Name)
	if err != nil || d.UID != up.UID {
		return nil, ignoreNotFound(err)
	}
	return &owner{d.UID, replicas(d.Spec.Replicas)}, nil
}

// scaled asks an owner of any type for its scale.
func (o *owners) scaled(ctx context.Context, gv schema.GroupVersion, ref *metav1.OwnerReference, namespace string) (*owner, error) {
	s, err := scale.Client{Discovery: o.discovery}.Get(ctx, scale.Target{GroupVersion: gv, Kind: ref.Kind, Namespace: namespace, Name: ref.Name})
	if err != nil || s.UID != ref.UID {
		return nil, ignoreNotFound(err)
	}
	return &owner{s.UID, s.Spec.Replicas}, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
