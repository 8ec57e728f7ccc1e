package rbac

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
)

// settle is how long a burst of changes is waited for before rules are written.
const settle = 50 * time.Millisecond

// WriteAggregated writes the rules of aggregated cluster roles into the objects, where
// clients read them, whenever they change, until ctx ends. Decisions do not depend on it.
// One server of a cluster runs it; client must be of system:masters.
func (a *Authorizer) WriteAggregated(ctx context.Context, client dynamic.Interface) error {
	select {
	case <-a.ready:
	case <-ctx.Done():
		return nil
	}
	for {
		failed := false
		for name, rules := range a.index.stale() {
			if err := writeRules(ctx, client, name, rules); err != nil && ctx.Err() == nil {
				a.log.Warn("writing the rules of an aggregated cluster role failed; trying again", "clusterRole", name, "error", err)
				failed = true
			}
		}
		var again <-chan time.Time
		if failed {
			again = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-a.changed:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(settle):
			}
		}
	}
}

func writeRules(ctx context.Context, client dynamic.Interface, name string, rules []rbacv1.PolicyRule) error {
	c := client.Resource(rbacv1.SchemeGroupVersion.WithResource("clusterroles"))
	o, err := c.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster role %s: %w", name, err)
	}
	trees := make([]any, len(rules))
	for i := range rules {
		if trees[i], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&rules[i]); err != nil {
			return fmt.Errorf("cluster role %s: rules[%d]: %w", name, i, err)
		}
	}
	o.Object["rules"] = trees
	if _, err := c.Update(ctx, o, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster role %s: %w", name, err)
	}
	return nil // after a conflict the change that came before leads here again
}
