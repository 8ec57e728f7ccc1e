package core

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	podsResource = runtimeschema.GroupResource{Resource: "pods"}
	evictionKind = runtimeschema.GroupKind{Group: "policy", Kind: "Eviction"}
)

// maxDisrupted is how many evictions of one budget may be unconfirmed by its controller.
const maxDisrupted = 2000

const overBudget = "Cannot evict pod as it would violate the pod's disruption budget."

// evict deletes a pod unless a budget forbids it. What the budget allows is lowered first, by
// a guarded write, so that evictions at the same moment can't share one allowance.
func (p Pods) evict(ctx context.Context, r *resource.Request, pod map[string]any) (resource.SubresourceResult, error) {
	none := resource.SubresourceResult{}
	name := tree.Str(tree.Map(pod, "metadata"), "name")
	if tree.Str(tree.Map(r.Object, "metadata"), "name") != name {
		return none, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	options := tree.CopyMap(tree.Map(r.Object, "deleteOptions"))
	if tree.Bool(options, "ignoreStoreReadErrorWithClusterBreakingPotential") {
		return none, apierrors.NewInvalid(evictionKind, name, field.ErrorList{field.Invalid(
			field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option")})
	}
	dryRun := r.DryRun || len(tree.List(options, "dryRun")) > 0
	budgeted, err := p.permit(ctx, r, pod, dryRun)
	if err != nil {
		return none, err
	}
	if !dryRun {
		err := p.announce(ctx, r, pod, tree.Map(options, "preconditions"), budgeted)
		if err != nil {
			return none, err
		}
		// The announcement has checked the version and changed it.
		if c := tree.Map(options, "preconditions"); c != nil {
			delete(c, "resourceVersion")
		}
	}
	return resource.SubresourceResult{Delete: true, DeleteOptions: options}, nil
}

// permit asks the budget of a pod. It returns the name of the budget where the pod may go only
// because it is not healthy: it must not have become so when it is deleted.
func (p Pods) permit(ctx context.Context, r *resource.Request, pod map[string]any, dryRun bool) (string, error) {
	// A pod that never ran, or no longer runs, is nothing a budget protects.
	switch tree.Str(tree.Map(pod, "status"), "phase") {
	case "Succeeded", "Failed", "Pending":
		return "", nil
	}
	if tree.Str(tree.Map(pod, "metadata"), "deletionTimestamp") != "" {
		return "", nil
	}
	budget, err := budgetOf(ctx, r, pod)
	if err != nil || budget == nil {
		return "", err
	}
	name := tree.Str(tree.Map(budget, "metadata"), "name")
	if !ready(pod) && unhealthyMayGo(budget) {
		return name, nil
	}
	podName := tree.Str(tree.Map(pod, "metadata"), "name")
	if dryRun || p.Writer == nil {
		return "", spend(tree.CopyMap(budget), podName)
	}
	err = p.Writer.ChangeStatus(ctx, budgets, r.Namespace, name, func(b map[string]any) error { return spend(b, podName) })
	if apierrors.IsConflict(err) {
		return "", apierrors.NewTimeoutError(fmt.Sprintf("couldn't update PodDisruptionBudget %q due to conflicts", name), 10)
	}
	return "", err
}

// unhealthyMayGo reports whether a budget lets pods go that are not ready.
func unhealthyMayGo(budget map[string]any) bool {
	status := tree.Map(budget, "status")
	desired := tree.Int0(status, "desiredHealthy")
	return tree.Str(tree.Map(budget, "spec"), "unhealthyPodEvictionPolicy") == string(policyv1.AlwaysAllow) ||
		(tree.Int0(status, "currentHealthy") >= desired && desired > 0)
}

// announce says in the pod's conditions why it goes. It is refused where the pod is not the one
// that was asked for, or has become healthy although a budget lets it go as an unhealthy one.
func (p Pods) announce(ctx context.Context, r *resource.Request, pod, preconditions map[string]any, unhealthyOf string) error {
	if p.Writer == nil {
		return nil
	}
	name, uid := tree.Str(tree.Map(pod, "metadata"), "name"), tree.Str(preconditions, "uid")
	return p.Writer.ChangeStatus(ctx, podsResource, r.Namespace, name, func(live map[string]any) error {
		m := tree.Map(live, "metadata")
		if have := tree.Str(m, "uid"); uid != "" && uid != have {
			return apierrors.NewConflict(podsResource, name, fmt.Errorf(
				"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", uid, have))
		}
		if want, have := tree.Str(preconditions, "resourceVersion"), tree.Str(m, "resourceVersion"); want != "" && want != have {
			return apierrors.NewConflict(podsResource, name, fmt.Errorf(
				"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", want, have))
		}
		if unhealthyOf != "" && ready(live) {
			return tooMany(10, "The disruption budget %s is still being processed by the server.", unhealthyOf)
		}
		status := tree.Ensure(live, "status")
		setCondition(status, "DisruptionTarget", "True")
		for _, v := range tree.List(status, "conditions") {
			if c := tree.Object(v); tree.Str(c, "type") == "DisruptionTarget" {
				c["reason"], c["message"] = "EvictionByEvictionAPI", "Eviction API: evicting"
			}
		}
		return nil
	})
}

func ready(pod map[string]any) bool {
	for _, v := range tree.List(tree.Map(pod, "status"), "conditions") {
		if c := tree.Object(v); tree.Str(c, "type") == "Ready" {
			return tree.Str(c, "status") == "True"
		}
	}
	return false
}

// budgetOf returns the budget of a pod, nil if it has none.
func budgetOf(ctx context.Context, r *resource.Request, pod map[string]any) (map[string]any, error) {
	if r.Reader == nil {
		return nil, nil
	}
	all, err := r.Reader.List(ctx, budgets, r.Namespace)
	if err != nil {
		return nil, fmt.Errorf("listing disruption budgets: %w", err)
	}
	have := labels.Set(tree.StringMap(tree.Map(pod, "metadata"), "labels"))
	var found map[string]any
	for _, b := range all {
		raw := tree.In(b, "spec", "selector")
		if raw == nil {
			continue
		}
		selector, err := tree.Typed[metav1.LabelSelector](raw)
		if err != nil {
			continue
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil || !s.Matches(have) {
			continue
		}
		if found != nil {
			return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
				Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
			}}
		}
		found = b
	}
	return found, nil
}

func tooMany(retryAfter int, format string, args ...any) error {
	err := apierrors.NewTooManyRequests(overBudget, retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: policyv1.DisruptionBudgetCause, Message: fmt.Sprintf(format, args...),
	})
	return err
}

// spend takes one disruption off what a budget allows and notes whose it is, or refuses.
func spend(budget map[string]any, pod string) error {
	b, err := tree.Typed[policyv1.PodDisruptionBudget](budget)
	if err != nil {
		return err
	}
	gr := runtimeschema.GroupResource{Group: "policy", Resource: "poddisruptionbudget"}
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return tooMany(10, "The disruption budget %s is still being processed by the server.", b.Name)
	case b.Status.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(gr, b.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(b.Status.DisruptedPods) > maxDisrupted:
		return apierrors.NewForbidden(gr, b.Name, fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case b.Status.DisruptionsAllowed == 0:
		return tooMany(0, "%s", whyNot(b))
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptionsAllowed == 0 {
		pdbhelper.UpdateDisruptionAllowedCondition(b)
	}
	status := tree.Ensure(budget, "status")
	status["disruptionsAllowed"] = int64(b.Status.DisruptionsAllowed)
	tree.Ensure(status, "disruptedPods")[pod] = now()
	if b.Status.DisruptionsAllowed > 0 {
		return nil
	}
	typed, err := tree.Untyped(&b.Status)
	if err != nil {
		return err
	}
	status["conditions"] = typed["conditions"]
	return nil
}

// whyNot says why a budget allows nothing.
func whyNot(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	said := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	var why strings.Builder
	fmt.Fprintf(&why, "The disruption budget %s ", b.Name)
	switch {
	// The numbers can't be trusted where they could not be computed.
	case said && c.Reason == policyv1.SyncFailedReason:
		fmt.Fprintf(&why, "does not allow evicting pods currently because it failed sync: %s", c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		fmt.Fprintf(&why, "needs %d healthy pods and has %d currently", b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	case said:
		fmt.Fprintf(&why, "does not allow evicting pods currently (%s): %s", c.Reason, c.Message)
	default:
		why.WriteString("does not allow evicting pods currently")
	}
	return why.String()
}
