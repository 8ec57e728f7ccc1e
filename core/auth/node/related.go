package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/tidwall/gjson"
)

// relation is the fact that a pod of a node uses an object.
type relation struct{ node, resource, namespace, name string }

// usedByPod allows what names one object that a pod bound to the node uses.
func usedByPod(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
	if r.Name == "" || r.Namespace == "" {
		return false, "No Object name found", nil
	}
	key := relation{r.node, r.Resource, r.Namespace, r.Name}
	now := a.now()
	if _, ok := a.related.Get(key, now); ok {
		return true, "", nil
	}
	pods, err := a.store.List(ctx, store.Key("pods/"+r.Namespace+"/"), store.ListOptions{})
	if err != nil {
		return false, "", fmt.Errorf("read the pods of namespace %s: %w", r.Namespace, err)
	}
	needle := []byte(`"` + r.Name + `"`)
	for _, o := range pods.Objects {
		// The name of a claim that is made for a pod is not in the pod.
		if r.Resource != "persistentvolumeclaims" && !bytes.Contains(o.Data, needle) || gjson.GetBytes(o.Data, "spec.nodeName").String() != r.node {
			continue
		}
		var pod corev1.Pod
		if err := json.Unmarshal(o.Data, &pod); err != nil {
			continue // an unreadable pod uses nothing
		}
		if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			continue // the node has made it, and must not grant itself anything by it
		}
		if uses(&pod, r.Resource, r.Name) {
			a.related.Put(key, struct{}{}, now.Add(relatedTTL))
			return true, "", nil
		}
	}
	return false, fmt.Sprintf("no relationship found between node '%s' and this object", r.node), nil
}

// uses reports whether a pod refers to an object of its namespace.
func uses(pod *corev1.Pod, resource, name string) bool {
	spec := &pod.Spec
	switch resource {
	case "resourceclaims":
		return usesClaim(pod, name)
	case "serviceaccounts":
		return spec.ServiceAccountName == name
	case "secrets":
		for _, s := range spec.ImagePullSecrets {
			if s.Name == name {
				return true
			}
		}
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if v.Ephemeral != nil && resource == "persistentvolumeclaims" && pod.Name+"-"+v.Name == name {
			return true
		}
		if volumeUses(&v.VolumeSource, resource, name) {
			return true
		}
	}
	for i := range spec.InitContainers {
		if containerUses(&spec.InitContainers[i], resource, name) {
			return true
		}
	}
	for i := range spec.Containers {
		if containerUses(&spec.Containers[i], resource, name) {
			return true
		}
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		if containerUses(&c, resource, name) {
			return true
		}
	}
	return false
}

// usesClaim knows the claims that were made for a pod from its status.
func usesClaim(pod *corev1.Pod, name string) bool {
	for _, c := range pod.Spec.ResourceClaims {
		if c.ResourceClaimName != nil && *c.ResourceClaimName == name {
			return true
		}
	}
	for _, c := range pod.Status.ResourceClaimStatuses {
		if c.ResourceClaimName != nil && *c.ResourceClaimName == name {
			return true
		}
	}
	extended := pod.Status.ExtendedResourceClaimStatus
	return extended != nil && extended.ResourceClaimName == name
}

func containerUses(c *corev1.Container, resource, name string) bool {
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if k := e.ValueFrom.SecretKeyRef; k != nil && resource == "secrets" && k.Name == name {
			return true
		}
		if k := e.ValueFrom.ConfigMapKeyRef; k != nil && resource == "configmaps" && k.Name == name {
			return true
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil && resource == "secrets" && e.SecretRef.Name == name {
			return true
		}
		if e.ConfigMapRef != nil && resource == "configmaps" && e.ConfigMapRef.Name == name {
			return true
		}
	}
	return false
}

func volumeUses(v *corev1.VolumeSource, resource, name string) bool {
	switch resource {
	case "persistentvolumeclaims":
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == name
	case "configmaps":
		if v.ConfigMap != nil && v.ConfigMap.Name == name {
			return true
		}
		if v.Projected != nil {
			for _, p := range v.Projected.Sources {
				if p.ConfigMap != nil && p.ConfigMap.Name == name {
					return true
				}
			}
		}
	case "secrets":
		if v.Secret != nil && v.Secret.SecretName == name {
			return true
		}
		if v.CSI != nil && v.CSI.NodePublishSecretRef != nil && v.CSI.NodePublishSecretRef.Name == name {
			return true
		}
		if v.Projected != nil {
			for _, p := range v.Projected.Sources {
				if p.Secret != nil && p.Secret.Name == name {
					return true
				}
			}
		}
	}
	return false
}
