package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
)

// verdict is what a Job's failure policy says of a failed pod.
type verdict struct {
	counts    bool   // towards the limits of failures
	failIndex bool   // the pod's index has failed for good
	failJob   string // the Job has failed for good, and why
}

// judge applies a failure policy, which may be nil, to a failed pod. The first rule that
// matches decides.
func judge(policy *batchv1.PodFailurePolicy, p *v1.Pod) verdict {
	if policy == nil {
		return verdict{counts: true}
	}
	for i := range policy.Rules {
		rule := &policy.Rules[i]
		why := matches(rule, p)
		if why == "" {
			continue
		}
		switch rule.Action {
		case batchv1.PodFailurePolicyActionIgnore:
			return verdict{}
		case batchv1.PodFailurePolicyActionFailIndex:
			return verdict{counts: true, failIndex: true}
		case batchv1.PodFailurePolicyActionFailJob:
			return verdict{counts: true, failJob: fmt.Sprintf("%s matching %v rule at index %d", why, rule.Action, i)}
		case batchv1.PodFailurePolicyActionCount:
			return verdict{counts: true}
		}
	}
	return verdict{counts: true}
}

// matches says by what a rule matches a pod, "" if it doesn't.
func matches(rule *batchv1.PodFailurePolicyRule, p *v1.Pod) string {
	if codes := rule.OnExitCodes; codes != nil {
		for _, c := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
			t := c.State.Terminated
			if t == nil || t.ExitCode == 0 || (codes.ContainerName != nil && *codes.ContainerName != c.Name) {
				continue
			}
			listed := slices.Contains(codes.Values, t.ExitCode)
			if (codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && listed) || (codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpNotIn && !listed) {
				return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v", c.Name, p.Namespace, p.Name, t.ExitCode)
			}
		}
		return ""
	}
	for _, c := range p.Status.Conditions {
		for _, pattern := range rule.OnPodConditions {
			if c.Type == pattern.Type && c.Status == pattern.Status {
				return fmt.Sprintf("Pod %s/%s has condition %v", p.Namespace, p.Name, c.Type)
			}
		}
	}
	return ""
}

// enough reports whether the indexes that have succeeded meet a success policy, and by
// which rule.
func enough(policy *batchv1.SuccessPolicy, completions int, succeeded indexes) (string, bool) {
	if policy == nil || len(succeeded) == 0 {
		return "", false
	}
	for i, rule := range policy.Rules {
		met := rule.SucceededCount != nil && succeeded.count() >= int(*rule.SucceededCount)
		if rule.SucceededIndexes != nil {
			asked := parseIndexes(*rule.SucceededIndexes, completions)
			have := asked.common(succeeded)
			met = len(asked) > 0 && (have == asked.count() || (rule.SucceededCount != nil && have >= int(*rule.SucceededCount)))
		}
		if met {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}
