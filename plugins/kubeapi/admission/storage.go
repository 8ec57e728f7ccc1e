package admission

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Finalizers that keep storage objects while something uses them; controllers take them off.
const (
	claimProtection  = "kubernetes.io/pvc-protection"
	volumeProtection = "kubernetes.io/pv-protection"
)

func (p *Plugins) protect(r *resource.Request, finalizer string) {
	if !p.on(ObjectInUse) || r.Operation != resource.Create || r.Subresource != "" {
		return
	}
	meta := tree.Ensure(r.Object, "metadata")
	if !slices.Contains(tree.Strings(meta, "finalizers"), finalizer) {
		meta["finalizers"] = append(tree.List(meta, "finalizers"), finalizer)
	}
}

func (p *Plugins) prepareVolume(_ context.Context, r *resource.Request) error {
	p.protect(r, volumeProtection)
	return nil
}

// prepareClaim protects a new claim and gives it the cluster's default storage class, unless
// it says which it wants; the empty one is none.
func (p *Plugins) prepareClaim(ctx context.Context, r *resource.Request) error {
	p.protect(r, claimProtection)
	if !p.on(defaultStorageClass) || r.Operation != resource.Create || r.Subresource != "" || r.Reader == nil {
		return nil
	}
	spec := tree.Ensure(r.Object, "spec")
	if _, named := tree.In(r.Object, "metadata", "annotations")[corev1.BetaStorageClassAnnotation]; named || spec["storageClassName"] != nil {
		return nil
	}
	classes, err := r.Reader.List(ctx, storageClasses, "")
	if err != nil {
		return forbidden(r, "%w", err)
	}
	if name := newest(classes, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"); name != "" {
		spec["storageClassName"] = name
	}
	return nil
}

// newest returns the name of the newest of the classes that one of the annotations marks as
// default, of two of the same second the first by name, and "" where there is none.
func newest(classes []map[string]any, annotations ...string) string {
	name, made := "", ""
	for _, c := range classes {
		meta := tree.Map(c, "metadata")
		marks := tree.Map(meta, "annotations")
		if !slices.ContainsFunc(annotations, func(a string) bool { return marks[a] == "true" }) {
			continue
		}
		// RFC 3339 times in UTC compare as text.
		at, n := tree.Str(meta, "creationTimestamp"), tree.Str(meta, "name")
		if later := strings.Compare(at, made); name == "" || later > 0 || later == 0 && n < name {
			name, made = n, at
		}
	}
	return name
}

// checkExpansion refuses to make a claim bigger that is not bound or whose storage class does
// not allow it.
func (p *Plugins) checkExpansion(ctx context.Context, r *resource.Request) error {
	if !p.on(claimResize) || r.Old == nil || r.Reader == nil {
		return nil
	}
	now, _ := amount(tree.In(r.Object, "spec", "resources", "requests")["storage"])
	before, _ := amount(tree.In(r.Old, "spec", "resources", "requests")["storage"])
	if now.Cmp(before) <= 0 {
		return nil
	}
	if tree.Str(tree.Map(r.Old, "status"), "phase") != string(corev1.ClaimBound) {
		return forbidden(r, "Only bound persistent volume claims can be expanded")
	}
	class := claimClass(r.Object)
	if class != "" && class == claimClass(r.Old) {
		c, err := r.Reader.Get(ctx, storageClasses, "", class)
		if err != nil {
			return forbidden(r, "%w", err)
		}
		if tree.Bool(c, "allowVolumeExpansion") {
			return nil
		}
	}
	return forbidden(r, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}

func claimClass(claim map[string]any) string {
	if class, ok := tree.In(claim, "metadata", "annotations")[corev1.BetaStorageClassAnnotation].(string); ok {
		return class
	}
	return tree.Str(tree.Map(claim, "spec"), "storageClassName")
}

// prepareIngress gives a new ingress the cluster's default class, unless it names one.
func (p *Plugins) prepareIngress(ctx context.Context, r *resource.Request) error {
	if !p.on(defaultIngressClass) || r.Operation != resource.Create || r.Subresource != "" || r.Reader == nil {
		return nil
	}
	spec := tree.Map(r.Object, "spec")
	if _, named := tree.In(r.Object, "metadata", "annotations")["kubernetes.io/ingress.class"]; named || spec["ingressClassName"] != nil {
		return nil
	}
	classes, err := r.Reader.List(ctx, ingressClasses, "")
	if err != nil {
		return forbidden(r, "%w", err)
	}
	if name := newest(classes, "ingressclass.kubernetes.io/is-default-class"); name != "" {
		tree.Ensure(r.Object, "spec")["ingressClassName"] = name
	}
	return nil
}
