package quota

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	resourcehelper "k8s.io/component-helpers/resource"
)

// podNames are the names that pods count towards, beside extended resources and huge pages.
var podNames = []corev1.ResourceName{
	countName(Pods), corev1.ResourcePods,
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
}

// mustSay are the names for which a quota makes each container say how much it wants.
var mustSay = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceMemory,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
}

type pods struct{}

func (pods) Handles(r Request) bool {
	switch r.Subresource {
	case "":
		if r.Operation == Update {
			now, ok := r.Object.(*corev1.Pod)
			before, okBefore := r.Old.(*corev1.Pod)
			return ok && okBefore && terminating(now) != terminating(before)
		}
		return r.Operation == Create
	case "resize":
		return r.Operation == Update
	}
	return false
}

func (pods) Names(hard []corev1.ResourceName) []corev1.ResourceName {
	out := among(hard, podNames)
	for _, name := range hard {
		if isHugePages(name) || isExtendedRequest(name) {
			out = append(out, name)
		}
	}
	return out
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

const deviceClassPrefix = resourcev1.ResourceDeviceClassPrefix

// isExtendedRequest reports whether a quota's name is of the requests of an extended
// resource. These can't be overcommitted, so there is none for limits.
func isExtendedRequest(name corev1.ResourceName) bool {
	rest, ok := strings.CutPrefix(string(name), corev1.DefaultResourceRequestsPrefix)
	return ok && (!isNative(string(name)) || strings.HasPrefix(rest, deviceClassPrefix))
}

func isNative(name string) bool {
	return !strings.Contains(name, "/") || strings.Contains(name, corev1.ResourceDefaultNamespacePrefix)
}

// isExtended reports whether a container's resource is an extended one, or of a device class.
func isExtended(name string) bool {
	if strings.HasPrefix(name, deviceClassPrefix) {
		return true
	}
	return !isNative(name) && !strings.HasPrefix(name, corev1.DefaultResourceRequestsPrefix) &&
		len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+name)) == 0
}

func (pods) Constrain(names []corev1.ResourceName, object any) error {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return unexpected("Pod", object)
	}
	if resourcehelper.IsPodLevelResourcesSet(pod) {
		return nil
	}
	required := among(names, mustSay)
	missing := map[corev1.ResourceName][]string{}
	for _, list := range [...][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			c := &list[i]
			says := compute(c.Resources.Requests, c.Resources.Limits)
			for _, name := range required {
				if _, ok := says[name]; !ok {
					missing[name] = append(missing[name], c.Name)
				}
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		containers := missing[name]
		slices.Sort(containers)
		parts = append(parts, fmt.Sprintf("%s for: %s", name, strings.Join(slices.Compact(containers), ",")))
	}
	return fmt.Errorf("must specify %s", strings.Join(parts, "; "))
}

// compute returns what requests and limits are in the names of a quota.
func compute(requests, limits corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{corev1.ResourcePods: one()}
	for _, name := range [...]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q, ok := requests[name]; ok {
			out[name], out[corev1.DefaultResourceRequestsPrefix+name] = q, q
		}
		if q, ok := limits[name]; ok {
			out["limits."+name] = q
		}
	}
	for name, q := range requests {
		if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			out[name], out[corev1.DefaultResourceRequestsPrefix+name] = q, q
		}
		if isExtended(string(name)) {
			out[corev1.DefaultResourceRequestsPrefix+name] = q
		}
	}
	return out
}

func (pods) Usage(_ context.Context, object any) (corev1.ResourceList, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil, unexpected("Pod", object)
	}
	return podUsage(pod, time.Now()), nil
}

func podUsage(pod *corev1.Pod, now time.Time) corev1.ResourceList {
	out := corev1.ResourceList{countName(Pods): one()}
	if !charged(pod, now) {
		return out
	}
	// A resize counts as what was asked for and what is still held, whichever is more.
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: true}
	for name, q := range compute(resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts)) {
		out[name] = q
	}
	return out
}

// charged reports whether a pod counts by what it holds: one that has ended holds nothing,
// and one that its node does not let go long after its time is not held against its owner.
func charged(pod *corev1.Pod, now time.Time) bool {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return false
	}
	if pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil {
		grace := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
		return !now.After(pod.DeletionTimestamp.Add(grace))
	}
	return true
}

func terminating(pod *corev1.Pod) bool {
	return pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
}

func (pods) InScope(scope corev1.ScopedResourceSelectorRequirement, object any) (bool, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return false, unexpected("Pod", object)
	}
	switch scope.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return terminating(pod), nil
	case corev1.ResourceQuotaScopeNotTerminating:
		return !terminating(pod), nil
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod), nil
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod), nil
	case corev1.ResourceQuotaScopePriorityClass:
		if scope.Operator == corev1.ScopeSelectorOpExists {
			return pod.Spec.PriorityClassName != "", nil
		}
		s, err := selector(scope)
		if err != nil {
			return false, err
		}
		set := labels.Set{}
		if class := pod.Spec.PriorityClassName; class != "" {
			set[string(scope.ScopeName)] = class
		}
		return s.Matches(set), nil
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crossNamespace(pod.Spec.Affinity), nil
	}
	return false, nil
}

// bestEffort reports whether no container of a pod asks for or is limited in CPU or memory.
func bestEffort(pod *corev1.Pod) bool {
	if class := pod.Status.QOSClass; class != "" {
		return class == corev1.PodQOSBestEffort
	}
	says := func(r corev1.ResourceRequirements) bool {
		for _, list := range [...]corev1.ResourceList{r.Requests, r.Limits} {
			for _, name := range [...]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				if q, ok := list[name]; ok && q.Sign() > 0 {
					return true
				}
			}
		}
		return false
	}
	if pod.Spec.Resources != nil && says(*pod.Spec.Resources) {
		return false
	}
	for _, list := range [...][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		if slices.ContainsFunc(list, func(c corev1.Container) bool { return says(c.Resources) }) {
			return false
		}
	}
	return true
}

// crossNamespace reports whether an affinity looks at pods of other namespaces.
func crossNamespace(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for i := range preferred {
			terms = append(terms, preferred[i].PodAffinityTerm)
		}
	}
	if p := a.PodAffinity; p != nil {
		add(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		add(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(t corev1.PodAffinityTerm) bool {
		return len(t.Namespaces) > 0 || t.NamespaceSelector != nil
	})
}
