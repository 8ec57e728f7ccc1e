package node

import (
	"context"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func pods(ctx context.Context, w *write) error {
	switch w.Subresource {
	case "":
		switch w.Operation {
		case resource.Create:
			return createPod(ctx, w)
		case resource.Delete:
			if text(w.Old, "spec", "nodeName") != w.node {
				return w.refuse("node %q can only delete pods with spec.nodeName set to itself", w.node)
			}
			return nil
		}
		return w.refuse("unexpected operation %q, node %q can only create and delete mirror pods", w.Operation, w.node)
	case "status":
		return podStatus(w)
	case "eviction":
		return eviction(ctx, w)
	}
	return w.refuse("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", w.Subresource)
}

// createPod allows mirror pods, which show what a node runs by itself and refer to nothing.
func createPod(ctx context.Context, w *write) error {
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.Object, &pod); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; !ok {
		return w.refuse("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, w.node)
	}
	if pod.Spec.NodeName != w.node {
		return w.refuse("node %q can only create pods with spec.nodeName set to itself", w.node)
	}
	switch len(pod.OwnerReferences) {
	case 0:
		return w.refuse("node %q can only create pods with an owner reference set to itself", w.node)
	case 1:
	default:
		return w.refuse("node %q can only create pods with a single owner reference set to itself", w.node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != w.node:
		return w.refuse("node %q can only create pods with an owner reference set to itself", w.node)
	case owner.Controller == nil || !*owner.Controller:
		return w.refuse("node %q can only create pods with a controller owner reference set to itself", w.node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return w.refuse("node %q must not set blockOwnerDeletion on an owner reference", w.node)
	}
	node, err := w.get(ctx, "nodes", "", w.node)
	if err != nil {
		return err
	}
	if node == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, w.node)
	}
	if uid := text(node, "metadata", "uid"); string(owner.UID) != uid {
		return w.refuse("node %s UID mismatch: expected %s got %s", w.node, owner.UID, uid)
	}
	what, err := refersTo(&pod.Spec)
	if err != nil {
		return w.refuse("error checking mirror pod for API references: %w", err)
	}
	if what != "" {
		return w.refuse("node %q can not create pods that reference %s", w.node, what)
	}
	return nil
}

// refersTo names the objects of the API that a pod refers to, "" where there are none.
func refersTo(spec *corev1.PodSpec) (string, error) {
	if spec.ServiceAccountName != "" {
		return "serviceaccounts", nil
	}
	secrets, maps := len(spec.ImagePullSecrets) > 0, false
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for i := range spec.EphemeralContainers {
		containers = append(containers, corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	for i := range containers {
		for _, e := range containers[i].EnvFrom {
			secrets, maps = secrets || e.SecretRef != nil, maps || e.ConfigMapRef != nil
		}
		for _, e := range containers[i].Env {
			if from := e.ValueFrom; from != nil {
				secrets, maps = secrets || from.SecretKeyRef != nil, maps || from.ConfigMapKeyRef != nil
			}
		}
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i].VolumeSource
		secrets, maps = secrets || hasSecret(v), maps || hasConfigMap(v)
	}
	switch {
	case secrets:
		return "secrets", nil
	case maps:
		return "configmaps", nil
	case len(spec.ResourceClaims) > 0:
		return "resourceclaims", nil
	}
	for i := range spec.Volumes {
		if what, err := volumeRefersTo(&spec.Volumes[i]); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}

func hasSecret(v *corev1.VolumeSource) bool {
	switch {
	case v.Secret != nil, v.AzureFile != nil,
		v.CSI != nil && v.CSI.NodePublishSecretRef != nil,
		v.CephFS != nil && v.CephFS.SecretRef != nil, v.Cinder != nil && v.Cinder.SecretRef != nil,
		v.FlexVolume != nil && v.FlexVolume.SecretRef != nil, v.ISCSI != nil && v.ISCSI.SecretRef != nil,
		v.RBD != nil && v.RBD.SecretRef != nil, v.ScaleIO != nil && v.ScaleIO.SecretRef != nil,
		v.StorageOS != nil && v.StorageOS.SecretRef != nil:
		return true
	case v.Projected != nil:
		return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.Secret != nil })
	}
	return false
}

func hasConfigMap(v *corev1.VolumeSource) bool {
	return v.ConfigMap != nil || v.Projected != nil &&
		slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ConfigMap != nil })
}

// volumeRefersTo is refersTo for what is neither a secret nor a config map.
func volumeRefersTo(v *corev1.Volume) (string, error) {
	switch {
	case v.CSI != nil:
		return "csidrivers (via CSI volumes)", nil
	case v.Glusterfs != nil:
		return "endpoints (via glusterFS volumes)", nil
	case v.PersistentVolumeClaim != nil:
		return "persistentvolumeclaims", nil
	case v.Ephemeral != nil:
		return "persistentvolumeclaims (via ephemeral volumes)", nil
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			switch {
			case s.DownwardAPI != nil:
			case s.ServiceAccountToken != nil:
				return "serviceaccounts (via projected volumes)", nil
			case s.ClusterTrustBundle != nil:
				return "clustertrustbundles", nil
			case s.PodCertificate != nil:
				return "podcertificates", nil
			default:
				return "", fmt.Errorf("unknown source for projected volume %q", v.Name)
			}
		}
	case v.VolumeSource == (corev1.VolumeSource{}):
		return "", fmt.Errorf("unknown volume type for volume  %q", v.Name)
	}
	return "", nil
}

func podStatus(w *write) error {
	if w.Operation != resource.Update {
		return w.refuse("unexpected operation %q", w.Operation)
	}
	switch {
	case text(w.Old, "spec", "nodeName") != w.node:
		return w.refuse("node %q can only update pod status for pods with spec.nodeName set to itself", w.node)
	case !same(value(w.Old, "metadata", "labels"), value(w.Object, "metadata", "labels")):
		return w.refuse("node %q cannot update labels through pod status", w.node)
	case !same(value(w.Old, "status", "resourceClaimStatuses"), value(w.Object, "status", "resourceClaimStatuses")):
		return w.refuse("node %q cannot update resource claim statues", w.node)
	case !same(value(w.Old, "status", "extendedResourceClaimStatus"), value(w.Object, "status", "extendedResourceClaimStatus")):
		return w.refuse("node %q cannot update extended resource claim status", w.node)
	}
	return nil
}

func eviction(ctx context.Context, w *write) error {
	if w.Operation != resource.Create {
		return w.refuse("unexpected operation %s", w.Operation)
	}
	name := w.Name
	if name == "" {
		name = text(w.Object, "metadata", "name")
	}
	pod, err := w.pod(ctx, name)
	if err != nil {
		return err
	}
	if text(pod, "spec", "nodeName") != w.node {
		return w.refuse("node %s can only evict pods with spec.nodeName set to itself", w.node)
	}
	return nil
}

func (w *write) pod(ctx context.Context, name string) (map[string]any, error) {
	pod, err := w.get(ctx, "pods", w.Namespace, name)
	if err == nil && pod == nil {
		err = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name)
	}
	return pod, err
}

// serviceAccounts allows tokens that are bound to a pod of the node and meant for whom the pod
// says.
func serviceAccounts(ctx context.Context, w *write) error {
	if w.Operation != resource.Create || w.Subresource != "token" {
		return nil
	}
	var req authenticationv1.TokenRequest
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.Object, &req); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	ref := req.Spec.BoundObjectRef
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return w.refuse("node requested token not bound to a pod")
	case ref.UID == "":
		return w.refuse("node requested token with a pod binding without a uid")
	}
	tree, err := w.pod(ctx, ref.Name)
	if err != nil {
		return err
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(tree, &pod); err != nil {
		return apierrors.NewInternalError(fmt.Errorf("pod %s/%s: %w", w.Namespace, ref.Name, err))
	}
	if ref.UID != pod.UID {
		return w.refuse("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	}
	if pod.Spec.NodeName != w.node {
		return w.refuse("node requested token bound to a pod scheduled on a different node")
	}
	return w.audience(ctx, req.Spec.Audiences, &pod)
}

// audience allows those that a volume of the pod asks for, or a driver of one.
func (w *write) audience(ctx context.Context, audiences []string, pod *corev1.Pod) error {
	wanted := ""
	switch len(audiences) {
	case 0:
	case 1:
		wanted = audiences[0]
	default:
		return w.refuse("node may only request 0 or 1 audiences")
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == wanted
		}) {
			return nil
		}
		driver, err := w.driver(ctx, pod, v)
		if err != nil {
			return w.refuse("error validating audience %q: %w", wanted, err)
		}
		if driver != "" && w.driverWants(ctx, driver, wanted) {
			return nil
		}
	}
	allowed, _, err := w.authorizer.Authorize(ctx, auth.Attributes{
		User: w.User, Verb: "request-serviceaccounts-token-audience", Version: "v1",
		Namespace: w.Namespace, Resource: wanted, Name: w.Name,
	})
	switch {
	case allowed:
		return nil
	case err != nil:
		return w.refuse("audience %q not found in pod spec volume, error authorizing %s to request tokens for this audience: %w", wanted, w.User.Name, err)
	}
	return w.refuse("audience %q not found in pod spec volume, %s is not authorized to request tokens for this audience", wanted, w.User.Name)
}

// driver is the CSI driver of a volume, "" where it has none.
func (w *write) driver(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (string, error) {
	var claim string
	switch {
	case v.CSI != nil:
		return v.CSI.Driver, nil
	case v.Ephemeral != nil:
		claim = pod.Name + "-" + v.Name
	case v.PersistentVolumeClaim != nil:
		claim = v.PersistentVolumeClaim.ClaimName
	default:
		return "", nil
	}
	pvc, err := w.get(ctx, "persistentvolumeclaims", pod.Namespace, claim)
	if err != nil || pvc == nil {
		return "", err
	}
	pv, err := w.get(ctx, "persistentvolumes", "", text(pvc, "spec", "volumeName"))
	if err != nil || pv == nil {
		return "", err
	}
	return text(pv, "spec", "csi", "driver"), nil
}

func (w *write) driverWants(ctx context.Context, driver, audience string) bool {
	d, err := w.Reader.Get(ctx, schema.GroupResource{Group: "storage.k8s.io", Resource: "csidrivers"}, "", driver)
	if err != nil || d == nil {
		return false
	}
	requests, _ := value(d, "spec", "tokenRequests").([]any)
	for _, r := range requests {
		if r, ok := r.(map[string]any); ok && text(r, "audience") == audience {
			return true
		}
	}
	return false
}
