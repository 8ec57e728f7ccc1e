package quota

import (
	"cmp"
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// resourceClaims is the evaluator of claims for devices.
type resourceClaims struct{ cluster Cluster }

func (resourceClaims) Handles(r Request) bool { return r.Subresource == "" }

// ofResourceClaims reports whether a name may count resource claims, as far as can be told
// from the name alone: an extended resource may be served by devices.
func ofResourceClaims(name corev1.ResourceName) bool {
	return name == countName(ResourceClaims) || strings.HasSuffix(string(name), corev1.ResourceClaimsPerClass) ||
		strings.HasPrefix(string(name), corev1.ResourceImplicitExtendedClaimsPerClass)
}

// Names includes all names of extended resources: whether a device class serves one is known
// only when the claim is looked at, and a claim uses nothing of the others.
func (resourceClaims) Names(hard []corev1.ResourceName) []corev1.ResourceName {
	var out []corev1.ResourceName
	for _, name := range hard {
		if ofResourceClaims(name) || isExtendedRequest(name) {
			out = append(out, name)
		}
	}
	return out
}

func (resourceClaims) InScope(corev1.ScopedResourceSelectorRequirement, any) (bool, error) {
	return false, nil
}

func (resourceClaims) Constrain([]corev1.ResourceName, any) error { return nil }

func (e resourceClaims) Usage(ctx context.Context, object any) (corev1.ResourceList, error) {
	claim, ok := object.(*resourcev1.ResourceClaim)
	if !ok {
		return nil, unexpected("ResourceClaim", object)
	}
	out := corev1.ResourceList{countName(ResourceClaims): one()}
	byClass := map[string]int64{}
	for i := range claim.Spec.Devices.Requests {
		switch r := &claim.Spec.Devices.Requests[i]; {
		case len(r.FirstAvailable) > 0:
			// One of them will be taken: of each class the worst case counts.
			most := map[string]int64{}
			for j := range r.FirstAvailable {
				s := &r.FirstAvailable[j]
				most[s.DeviceClassName] = max(most[s.DeviceClassName], devices(s.AllocationMode, s.Count))
			}
			for class, n := range most {
				byClass[class] += n
			}
		case r.Exactly != nil:
			byClass[r.Exactly.DeviceClassName] += devices(r.Exactly.AllocationMode, r.Exactly.Count)
		}
	}
	if len(byClass) == 0 {
		return out, nil
	}
	for class, n := range byClass {
		out[corev1.ResourceName(class+corev1.ResourceClaimsPerClass)] = number(int(n))
	}
	return out, e.addExtended(ctx, out, byClass, claim)
}

func devices(mode resourcev1.DeviceAllocationMode, count int64) int64 {
	switch mode {
	case resourcev1.DeviceAllocationModeExactCount:
		return count
	case resourcev1.DeviceAllocationModeAll:
		return resourcev1.AllocationResultsMaxSize
	}
	return 0 // a mode of a later version
}

// addExtended adds the names under which devices count as extended resources, less what the
// pod that a claim was made for has been charged.
func (e resourceClaims) addExtended(ctx context.Context, out corev1.ResourceList, byClass map[string]int64, claim *resourcev1.ResourceClaim) error {
	if e.cluster == nil {
		return nil
	}
	classes, err := e.cluster.DeviceClasses(ctx)
	if err != nil {
		return err
	}
	paid, err := e.podPays(ctx, claim)
	if err != nil {
		return err
	}
	add := func(name corev1.ResourceName, n int64) {
		q := number(int(n))
		if p, ok := paid[name]; ok {
			q.Sub(p)
		}
		if q.Sign() > 0 {
			out[name] = q
		}
	}
	for class, n := range byClass {
		add(corev1.ResourceName(corev1.ResourceImplicitExtendedClaimsPerClass+class), n)
		for i := range classes {
			if name := classes[i].Spec.ExtendedResourceName; classes[i].Name == class && name != nil && *name != "" {
				add(corev1.ResourceName(corev1.DefaultResourceRequestsPrefix+*name), n)
			}
		}
	}
	return nil
}

// podPays returns what the pod uses for whose extended resources the scheduler made a claim,
// nil where the claim is another.
func (e resourceClaims) podPays(ctx context.Context, claim *resourcev1.ResourceClaim) (corev1.ResourceList, error) {
	owner := podOwner(claim)
	if owner == nil {
		return nil, nil
	}
	pod, err := e.cluster.Pod(ctx, claim.Namespace, owner.Name)
	if err != nil || pod == nil || pod.UID != owner.UID {
		return nil, err
	}
	if s := pod.Status.ExtendedResourceClaimStatus; s != nil {
		if s.ResourceClaimName != claim.Name {
			return nil, nil
		}
		return podUsage(pod, time.Now()), nil
	}
	// The pod does not say which claim is its own: it is the first.
	others, err := e.cluster.ResourceClaims(ctx, claim.Namespace)
	if err != nil {
		return nil, err
	}
	for i := range others {
		other := podOwner(&others[i])
		if other == nil || other.UID != owner.UID {
			continue
		}
		before := others[i].CreationTimestamp.Compare(claim.CreationTimestamp.Time)
		if cmp.Or(before, strings.Compare(others[i].Name, claim.Name)) < 0 {
			return nil, nil
		}
	}
	return podUsage(pod, time.Now()), nil
}

// podOwner returns the pod for whose extended resources a claim was made.
func podOwner(claim *resourcev1.ResourceClaim) *metav1.OwnerReference {
	if claim.Annotations[resourcev1.ExtendedResourceClaimAnnotation] != "true" {
		return nil
	}
	if ref := metav1.GetControllerOfNoCopy(claim); ref != nil && ref.Kind == "Pod" && ref.APIVersion == "v1" {
		return ref
	}
	return nil
}
