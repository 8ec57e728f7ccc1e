package disruption

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
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
	list, err := o.discovery.ServerResourcesForGroupVersion(gv.String())
	if err != nil {
		return nil, fmt.Errorf("look up %s of %s: %w", ref.Kind, gv, err)
	}
	plural, scales := "", map[string]bool{}
	for _, r := range list.APIResources {
		switch {
		case r.Kind == ref.Kind && r.Namespaced && plural == "":
			plural = r.Name
		default:
			scales[r.Name] = true
		}
	}
	if plural == "" {
		return nil, fmt.Errorf("no matches for kind %q in version %q", ref.Kind, gv)
	}
	if !scales[plural+"/scale"] {
		return nil, fmt.Errorf("%s does not implement the scale subresource", schema.GroupResource{Group: gv.Group, Resource: plural})
	}
	base := []string{"/apis", gv.Group, gv.Version}
	if gv.Group == "" {
		base = []string{"/api", gv.Version}
	}
	raw, err := o.discovery.RESTClient().Get().AbsPath(append(base, "namespaces", namespace, plural, ref.Name, "scale")...).
		SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	var scale autoscalingv1.Scale
	if err := json.Unmarshal(raw, &scale); err != nil {
		return nil, fmt.Errorf("scale of %s %s/%s: %w", plural, namespace, ref.Name, err)
	}
	if scale.UID != ref.UID {
		return nil, nil
	}
	return &owner{scale.UID, scale.Spec.Replicas}, nil
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
