package control

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Trim is the transform of the informers: it drops what no controller reads, before an
// object enters a cache. Trimmed pods, nodes and ConfigMaps must never be sent back with an update.
func Trim(obj any) (any, error) {
	if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return tomb, nil
	}
	switch o := obj.(type) {
	case *v1.Pod:
		return trimPod(o), nil
	case *v1.Node:
		trimNode(o)
	case *networkingv1.IPAddress:
		return trimAddress(o), nil
	case *v1.Namespace, *v1.Service, *v1.ServiceAccount:
		dropLastApplied(o.(metav1.Object))
	}
	if m, err := meta.Accessor(obj); err == nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

func dropLastApplied(m metav1.Object) {
	if a := m.GetAnnotations(); a[v1.LastAppliedConfigAnnotation] != "" {
		delete(a, v1.LastAppliedConfigAnnotation)
	}
}

// DeletionCost is the annotation by which users say which replicas to delete first.
const DeletionCost = "controller.kubernetes.io/pod-deletion-cost"

// trimPod copies what is kept, so that the rest can be freed.
func trimPod(p *v1.Pod) *v1.Pod {
	m := metav1.ObjectMeta{
		Name: p.Name, GenerateName: p.GenerateName, Namespace: p.Namespace, UID: p.UID,
		ResourceVersion: p.ResourceVersion, Generation: p.Generation,
		CreationTimestamp: p.CreationTimestamp, DeletionTimestamp: p.DeletionTimestamp,
		DeletionGracePeriodSeconds: p.DeletionGracePeriodSeconds,
		Labels:                     p.Labels, OwnerReferences: p.OwnerReferences, Finalizers: p.Finalizers,
	}
	keepAnnotations(&m, p.Annotations)
	out := &v1.Pod{ObjectMeta: m}
	out.Spec = v1.PodSpec{
		NodeName: p.Spec.NodeName, Hostname: p.Spec.Hostname, Subdomain: p.Spec.Subdomain,
		RestartPolicy: p.Spec.RestartPolicy, Tolerations: p.Spec.Tolerations, Volumes: trimVolumes(p.Spec.Volumes),
		Containers: trimContainers(p.Spec.Containers, false), InitContainers: trimContainers(p.Spec.InitContainers, true),
	}
	if p.Spec.NodeName == "" {
		out.Spec.Affinity = trimAffinity(p)
	}
	s := &p.Status
	out.Status = v1.PodStatus{Phase: s.Phase, Reason: s.Reason, HostIP: s.HostIP, PodIP: s.PodIP, PodIPs: s.PodIPs, StartTime: s.StartTime}
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil && ref.Kind == "Job" {
		trimJobPod(out, p)
		return out
	}
	for _, c := range s.Conditions {
		if c.Type == v1.PodReady || c.Type == v1.DisruptionTarget {
			out.Status.Conditions = append(out.Status.Conditions, c)
		}
	}
	for _, c := range s.ContainerStatuses {
		if c.RestartCount > 0 {
			out.Status.ContainerStatuses = append(out.Status.ContainerStatuses, v1.ContainerStatus{Name: c.Name, RestartCount: c.RestartCount})
		}
	}
	return out
}

// keepAnnotations keeps what controllers read of a pod's annotations.
func keepAnnotations(m *metav1.ObjectMeta, have map[string]string) {
	for _, key := range [...]string{DeletionCost, batchv1.JobCompletionIndexAnnotation, batchv1.JobIndexFailureCountAnnotation, batchv1.JobIndexIgnoredFailureCountAnnotation} {
		if v, ok := have[key]; ok {
			if m.Annotations == nil {
				m.Annotations = map[string]string{}
			}
			m.Annotations[key] = v
		}
	}
}

// trimAffinity keeps for which node a DaemonSet has made a pod that is on none yet.
func trimAffinity(p *v1.Pod) *v1.Affinity {
	a := p.Spec.Affinity
	if ref := metav1.GetControllerOfNoCopy(p); ref == nil || ref.Kind != "DaemonSet" || a == nil || a.NodeAffinity == nil {
		return nil
	}
	return &v1.Affinity{NodeAffinity: &v1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
	}}
}

// trimVolumes keeps which claims a pod uses.
func trimVolumes(list []v1.Volume) []v1.Volume {
	var out []v1.Volume
	for i := range list {
		switch v := &list[i]; {
		case v.PersistentVolumeClaim != nil:
			out = append(out, v1.Volume{Name: v.Name, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: v.PersistentVolumeClaim}})
		case v.Ephemeral != nil:
			out = append(out, v1.Volume{Name: v.Name, VolumeSource: v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}})
		}
	}
	return out
}

// trimJobPod keeps how the containers of a Job's pod ended, which of them are sidecars and
// what was said of the pod: a Job may decide by any of it.
func trimJobPod(out, p *v1.Pod) {
	out.Status.Conditions = p.Status.Conditions
	keep := func(list []v1.ContainerStatus) []v1.ContainerStatus {
		var kept []v1.ContainerStatus
		for i := range list {
			c := &list[i]
			k := v1.ContainerStatus{Name: c.Name, RestartCount: c.RestartCount}
			if t := c.State.Terminated; t != nil {
				k.State.Terminated = &v1.ContainerStateTerminated{ExitCode: t.ExitCode, FinishedAt: t.FinishedAt}
			}
			kept = append(kept, k)
		}
		return kept
	}
	out.Status.ContainerStatuses, out.Status.InitContainerStatuses = keep(p.Status.ContainerStatuses), keep(p.Status.InitContainerStatuses)
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		known := slices.ContainsFunc(out.Spec.InitContainers, func(have v1.Container) bool { return have.Name == c.Name })
		if !known && c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			out.Spec.InitContainers = append(out.Spec.InitContainers, v1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy})
		}
	}
}

// trimContainers keeps the named ports, to which Services may refer.
func trimContainers(list []v1.Container, sidecarsOnly bool) []v1.Container {
	var out []v1.Container
	for i := range list {
		c := &list[i]
		if sidecarsOnly && (c.RestartPolicy == nil || *c.RestartPolicy != v1.ContainerRestartPolicyAlways) {
			continue
		}
		var ports []v1.ContainerPort
		for _, p := range c.Ports {
			if p.Name != "" {
				ports = append(ports, p)
			}
		}
		if len(ports) > 0 {
			out = append(out, v1.Container{Name: c.Name, Ports: ports, RestartPolicy: c.RestartPolicy})
		}
	}
	return out
}

// trimAddress keeps what says whose an address is.
func trimAddress(o *networkingv1.IPAddress) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, CreationTimestamp: o.CreationTimestamp, Labels: o.Labels,
		},
		Spec: o.Spec,
	}
}

func trimNode(n *v1.Node) {
	dropLastApplied(n)
	n.Status = v1.NodeStatus{Conditions: n.Status.Conditions, Addresses: n.Status.Addresses, Allocatable: n.Status.Allocatable}
}
