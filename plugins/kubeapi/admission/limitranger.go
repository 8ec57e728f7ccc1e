package admission

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const limitsAnnotation = "kubernetes.io/limit-ranger"

// rangesOf returns the limit ranges of a request's namespace in the order of their names.
func rangesOf(ctx context.Context, r *resource.Request) ([]map[string]any, error) {
	if r.Reader == nil {
		return nil, nil
	}
	ranges, err := r.Reader.List(ctx, limitRanges, r.Namespace)
	if err != nil {
		return nil, forbidden(r, "unable to %s %v at this time because there was an error enforcing limit ranges: %w", r.Operation, r.Resource, err)
	}
	if len(ranges) > 1 {
		slices.SortFunc(ranges, func(a, b map[string]any) int {
			return strings.Compare(tree.Str(tree.Map(a, "metadata"), "name"), tree.Str(tree.Map(b, "metadata"), "name"))
		})
	}
	return ranges, nil
}

func limitsOf(limitRange map[string]any, typ corev1.LimitType) []map[string]any {
	var out []map[string]any
	for _, v := range tree.List(tree.Map(limitRange, "spec"), "limits") {
		if l := tree.Object(v); tree.Str(l, "type") == string(typ) {
			out = append(out, l)
		}
	}
	return out
}

// defaultLimits gives a new pod's containers the defaults of the namespace's limit ranges.
func (p *Plugins) defaultLimits(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if !p.on(limitRanger) {
		return nil
	}
	ranges, err := rangesOf(ctx, r)
	if err != nil {
		return err
	}
	for _, lr := range ranges {
		requests, limits := map[string]any{}, map[string]any{}
		for _, l := range limitsOf(lr, corev1.LimitTypeContainer) {
			maps.Copy(requests, tree.Map(l, "defaultRequest"))
			maps.Copy(limits, tree.Map(l, "default"))
		}
		if set := defaultResources(spec, requests, limits); len(set) > 0 {
			annotations := tree.Ensure(tree.Ensure(r.Object, "metadata"), "annotations")
			annotations[limitsAnnotation] = "LimitRanger plugin set: " + strings.Join(set, "; ")
		}
	}
	return nil
}

// defaultResources sets what containers leave open and tells what it has set.
func defaultResources(spec, requests, limits map[string]any) (set []string) {
	for _, list := range [...][2]string{{"containers", "container"}, {"initContainers", "init container"}} {
		for _, v := range tree.List(spec, list[0]) {
			c := tree.Object(v)
			if c == nil {
				continue
			}
			for _, d := range [...]struct {
				from     map[string]any
				to, word string
			}{{requests, "requests", "request"}, {limits, "limits", "limit"}} {
				var keys []string
				for _, key := range slices.Sorted(maps.Keys(d.from)) {
					to := tree.Ensure(tree.Ensure(c, "resources"), d.to)
					if _, ok := to[key]; !ok {
						to[key] = d.from[key]
						keys = append(keys, key)
					}
				}
				if len(keys) > 0 {
					set = append(set, fmt.Sprintf("%s %s for %s %s", strings.Join(keys, ", "), d.word, list[1], tree.Str(c, "name")))
				}
			}
		}
	}
	return set
}

// checkLimits refuses pods and claims that are not within the namespace's limit ranges.
func (p *Plugins) checkLimits(ctx context.Context, r *resource.Request) error {
	if !p.on(limitRanger) || r.Old != nil && beingDeleted(r.Old) {
		return nil
	}
	ranges, err := rangesOf(ctx, r)
	if err != nil || len(ranges) == 0 {
		return err
	}
	check := podWithin
	if r.Resource.GroupResource() == claims {
		check = claimWithin
	}
	for _, lr := range ranges {
		if err := check(lr, r.Object); err != nil {
			return forbidden(r, "%w", err)
		}
	}
	return nil
}

func podWithin(limitRange, object map[string]any) error {
	perContainer, perPod := limitsOf(limitRange, corev1.LimitTypeContainer), limitsOf(limitRange, corev1.LimitTypePod)
	if len(perContainer)+len(perPod) == 0 {
		return nil
	}
	pod, err := tree.Typed[corev1.Pod](object)
	if err != nil {
		return err
	}
	var wrong []error
	for _, l := range perContainer {
		for _, list := range [...][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range list {
				wrong = append(wrong, within(l, corev1.LimitTypeContainer, list[i].Resources.Requests, list[i].Resources.Limits)...)
			}
		}
	}
	if len(perPod) > 0 {
		// The overhead is not the user's to keep small.
		opts := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
		requests, limits := resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts)
		for _, l := range perPod {
			wrong = append(wrong, within(l, corev1.LimitTypePod, requests, limits)...)
		}
	}
	return utilerrors.NewAggregate(wrong)
}

func claimWithin(limitRange, object map[string]any) error {
	limits := limitsOf(limitRange, corev1.LimitTypePersistentVolumeClaim)
	if len(limits) == 0 {
		return nil
	}
	claim, err := tree.Typed[corev1.PersistentVolumeClaim](object)
	if err != nil {
		return err
	}
	var wrong []error
	for _, l := range limits {
		asked := claim.Spec.Resources.Requests
		for name, least := range bounds(l, "min") {
			wrong = add(wrong, atLeast(corev1.LimitTypePersistentVolumeClaim, name, least, asked, nil))
		}
		for name, most := range bounds(l, "max") {
			wrong = add(wrong, requestAtMost(corev1.LimitTypePersistentVolumeClaim, name, most, asked))
		}
	}
	return utilerrors.NewAggregate(wrong)
}

func add(list []error, err error) []error {
	if err == nil {
		return list
	}
	return append(list, err)
}

// bounds yields the amounts of one field of a limit in the order of their names.
func bounds(limit map[string]any, key string) func(yield func(corev1.ResourceName, apiresource.Quantity) bool) {
	return func(yield func(corev1.ResourceName, apiresource.Quantity) bool) {
		list := tree.Map(limit, key)
		for _, name := range slices.Sorted(maps.Keys(list)) {
			if q, ok := amount(list[name]); ok && !yield(corev1.ResourceName(name), q) {
				return
			}
		}
	}
}

func amount(v any) (apiresource.Quantity, bool) {
	if v == nil {
		return apiresource.Quantity{}, false
	}
	q, err := apiresource.ParseQuantity(fmt.Sprint(v))
	return q, err == nil
}

// sameAmounts reports whether two lists of quantities are equal, however they are written.
func sameAmounts(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, func(x, y any) bool {
		p, okP := amount(x)
		q, okQ := amount(y)
		return okP && okQ && p.Cmp(q) == 0
	})
}

// within tells how resources are not within a limit, in upstream's words.
func within(limit map[string]any, typ corev1.LimitType, requests, limits corev1.ResourceList) (wrong []error) {
	for name, least := range bounds(limit, "min") {
		wrong = add(wrong, atLeast(typ, name, least, requests, limits))
	}
	for name, most := range bounds(limit, "max") {
		wrong = add(wrong, atMost(typ, name, most, requests, limits))
	}
	for name, most := range bounds(limit, "maxLimitRequestRatio") {
		wrong = add(wrong, ratioAtMost(typ, name, most, requests, limits))
	}
	return wrong
}

func atLeast(typ corev1.LimitType, name corev1.ResourceName, least apiresource.Quantity, requests, limits corev1.ResourceList) error {
	request, asked := requests[name]
	limit, limited := limits[name]
	head := fmt.Sprintf("minimum %s usage per %s is %s", name, typ, least.String())
	switch {
	case !asked:
		return fmt.Errorf("%s.  No request is specified", head)
	case request.Cmp(least) < 0:
		return fmt.Errorf("%s, but request is %s", head, request.String())
	case limited && limit.Cmp(least) < 0:
		return fmt.Errorf("%s, but limit is %s", head, limit.String())
	}
	return nil
}

func requestAtMost(typ corev1.LimitType, name corev1.ResourceName, most apiresource.Quantity, requests corev1.ResourceList) error {
	request, asked := requests[name]
	head := fmt.Sprintf("maximum %s usage per %s is %s", name, typ, most.String())
	switch {
	case !asked:
		return fmt.Errorf("%s.  No request is specified", head)
	case request.Cmp(most) > 0:
		return fmt.Errorf("%s, but request is %s", head, request.String())
	}
	return nil
}

func atMost(typ corev1.LimitType, name corev1.ResourceName, most apiresource.Quantity, requests, limits corev1.ResourceList) error {
	limit, limited := limits[name]
	head := fmt.Sprintf("maximum %s usage per %s is %s", name, typ, most.String())
	switch {
	case !limited:
		return fmt.Errorf("%s.  No limit is specified", head)
	case limit.Cmp(most) > 0:
		return fmt.Errorf("%s, but limit is %s", head, limit.String())
	}
	if request, asked := requests[name]; asked && request.Cmp(most) > 0 {
		return fmt.Errorf("%s, but request is %s", head, request.String())
	}
	return nil
}

func ratioAtMost(typ corev1.LimitType, name corev1.ResourceName, most apiresource.Quantity, requests, limits corev1.ResourceList) error {
	request, asked := requests[name]
	limit, limited := limits[name]
	head := fmt.Sprintf("%s max limit to request ratio per %s is %s", name, typ, most.String())
	switch {
	case !asked || request.IsZero():
		return fmt.Errorf("%s, but no request is specified or request is 0", head)
	case !limited || limit.IsZero():
		return fmt.Errorf("%s, but no limit is specified or limit is 0", head)
	}
	if ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > most.AsApproximateFloat64() {
		return fmt.Errorf("%s, but provided ratio is %f", head, ratio)
	}
	return nil
}
