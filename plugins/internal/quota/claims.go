package quota

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
)

// ofStorageClass stands between the name of a storage class and that of what is limited of
// it: gold.storageclass.storage.k8s.io/requests.storage.
const ofStorageClass = ".storageclass.storage.k8s.io/"

type claims struct{}

func (claims) Handles(r Request) bool {
	switch r.Subresource {
	case "":
		return true
	case "status":
		now, ok := r.Object.(*corev1.PersistentVolumeClaim)
		before, okBefore := r.Old.(*corev1.PersistentVolumeClaim)
		return ok && okBefore && (now.Status.AllocatedResources.Storage().Cmp(*before.Status.AllocatedResources.Storage()) != 0 ||
			!slices.Equal(attributesClasses(now), attributesClasses(before)))
	}
	return false
}

func (claims) Names(hard []corev1.ResourceName) []corev1.ResourceName {
	var out []corev1.ResourceName
	for _, name := range hard {
		rest := string(name)
		if i := strings.LastIndex(rest, ofStorageClass); i >= 0 {
			rest = rest[i+len(ofStorageClass):]
		}
		switch corev1.ResourceName(rest) {
		case corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage:
			out = append(out, name)
		default:
			if name == countName(Claims) {
				out = append(out, name)
			}
		}
	}
	return out
}

func (claims) InScope(scope corev1.ScopedResourceSelectorRequirement, object any) (bool, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return false, unexpected("PersistentVolumeClaim", object)
	}
	if scope.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
		return false, nil
	}
	classes := attributesClasses(claim)
	if scope.Operator == corev1.ScopeSelectorOpExists {
		return len(classes) > 0, nil
	}
	s, err := selector(scope)
	if err != nil {
		return false, err
	}
	if len(classes) == 0 {
		return s.Matches(labels.Set{}), nil
	}
	return slices.ContainsFunc(classes, func(class string) bool {
		return s.Matches(labels.Set{string(scope.ScopeName): class})
	}), nil
}

// attributesClasses returns the volume attributes classes that a claim has, wants, or is on
// its way to, each once.
func attributesClasses(claim *corev1.PersistentVolumeClaim) []string {
	var out []string
	add := func(name *string) {
		if name != nil && *name != "" {
			out = append(out, *name)
		}
	}
	add(claim.Spec.VolumeAttributesClassName)
	add(claim.Status.CurrentVolumeAttributesClassName)
	if m := claim.Status.ModifyVolumeStatus; m != nil {
		add(&m.TargetVolumeAttributesClassName)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (claims) Constrain([]corev1.ResourceName, any) error { return nil }

func (claims) Usage(_ context.Context, object any) (corev1.ResourceList, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil, unexpected("PersistentVolumeClaim", object)
	}
	out := corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: one(), countName(Claims): one()}
	class := claim.Annotations[corev1.BetaStorageClassAnnotation]
	if class == "" && claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	if class != "" {
		out[corev1.ResourceName(class+ofStorageClass)+corev1.ResourcePersistentVolumeClaims] = one()
	}
	size, ok := claimSize(claim)
	if !ok {
		return out, nil
	}
	out[corev1.ResourceRequestsStorage] = size
	if class != "" {
		out[corev1.ResourceName(class+ofStorageClass)+corev1.ResourceRequestsStorage] = size
	}
	return out, nil
}

// claimSize is what a claim asks for or, after a failed expansion, still holds, in whole bytes.
func claimSize(claim *corev1.PersistentVolumeClaim) (resource.Quantity, bool) {
	size, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return size, false
	}
	if held, ok := claim.Status.AllocatedResources[corev1.ResourceStorage]; ok && held.Cmp(size) > 0 {
		size = held
	}
	size = size.DeepCopy()
	size.RoundUp(0)
	return size, true
}
