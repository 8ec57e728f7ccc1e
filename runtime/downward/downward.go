package downward

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Facts are what is known beside the pod's object, whose status may lag behind.
type Facts struct {
	NodeName string
	HostIP   string
	PodIPs   []string
	// Allocatable of the node stands in for limits that are not set.
	Allocatable corev1.ResourceList
}

// Field returns the value of a field path such as metadata.labels['app'].
func Field(pod *corev1.Pod, path string, f Facts) (string, error) {
	if name, key, ok := subscript(path); ok {
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
		return "", fmt.Errorf("field %q: only metadata.labels and metadata.annotations have keys", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return pairs(pod.Labels), nil
	case "metadata.annotations":
		return pairs(pod.Annotations), nil
	case "spec.nodeName":
		return f.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return f.HostIP, nil
	case "status.podIP":
		if len(f.PodIPs) == 0 {
			return "", nil
		}
		return f.PodIPs[0], nil
	case "status.podIPs":
		return strings.Join(f.PodIPs, ","), nil
	}
	return "", fmt.Errorf("field %q is none that a pod may be told", path)
}

func subscript(path string) (name, key string, ok bool) {
	name, rest, found := strings.Cut(path, "['")
	if !found || !strings.HasSuffix(rest, "']") {
		return "", "", false
	}
	return name, strings.TrimSuffix(rest, "']"), true
}

// pairs writes a map as sorted lines of key="value".
func pairs(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for k, v := range m {
		lines = append(lines, fmt.Sprintf("%s=%q", k, v))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// Resource returns the value of a resource selector; container is the default for
// selectors that name none.
func Resource(pod *corev1.Pod, container string, sel *corev1.ResourceFieldSelector, f Facts) (string, error) {
	if sel.ContainerName != "" {
		container = sel.ContainerName
	}
	var c *corev1.Container
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == container {
				c = &list[i]
			}
		}
	}
	if c == nil {
		return "", fmt.Errorf("resource %q: the pod has no container %q", sel.Resource, container)
	}
	kind, name, ok := strings.Cut(sel.Resource, ".")
	if !ok || kind != "limits" && kind != "requests" {
		return "", fmt.Errorf("resource %q: want limits.<resource> or requests.<resource>", sel.Resource)
	}
	res := corev1.ResourceName(name)
	q := c.Resources.Requests[res]
	if kind == "limits" {
		limit, set := c.Resources.Limits[res]
		if q = limit; !set {
			q = f.Allocatable[res]
		}
	}
	divisor := sel.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if res == corev1.ResourceCPU {
		return strconv.FormatInt(int64(math.Ceil(float64(q.MilliValue())/float64(divisor.MilliValue()))), 10), nil
	}
	return strconv.FormatInt(int64(math.Ceil(float64(q.Value())/float64(divisor.Value()))), 10), nil
}
