package controlplane

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ensurePriorityClasses keeps the two classes that pods of the system itself name.
func ensurePriorityClasses(ctx context.Context, client kubernetes.Interface) error {
	policy := corev1.PreemptLowerPriority
	for _, c := range []schedulingv1.PriorityClass{{
		ObjectMeta:  metav1.ObjectMeta{Name: "system-node-critical"},
		Value:       2000001000,
		Description: "Used for system critical pods that must not be moved from their current node.",
	}, {
		ObjectMeta:  metav1.ObjectMeta{Name: "system-cluster-critical"},
		Value:       2000000000,
		Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
	}} {
		c.PreemptionPolicy = &policy
		_, err := client.SchedulingV1().PriorityClasses().Create(ctx, &c, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("priority class %s: %w", c.Name, err)
		}
	}
	return nil
}
