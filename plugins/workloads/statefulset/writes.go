package statefulset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// run does the steps of a plan and stops where one fails.
func (c *Controller) run(ctx context.Context, key string, set *appsv1.StatefulSet, stages [][]step) error {
	creations := 0
	var deletions []types.UID
	for _, steps := range stages {
		for _, s := range steps {
			switch s.verb {
			case create:
				creations++
			case remove:
				deletions = append(deletions, s.pod.UID)
			}
		}
	}
	if creations+len(deletions) > 0 {
		c.expect.Expect(key, creations, deletions...)
	}
	for i, steps := range stages {
		made, err := c.runStage(ctx, key, set, steps)
		if err != nil {
			// What is not tried will not be seen either.
			c.unexpect(key, steps[made:])
			for _, later := range stages[i+1:] {
				c.unexpect(key, later)
			}
			return err
		}
	}
	return nil
}

// runStage returns how many steps were tried.
func (c *Controller) runStage(ctx context.Context, key string, set *appsv1.StatefulSet, steps []step) (int, error) {
	if set.Spec.PodManagementPolicy == appsv1.ParallelPodManagement {
		return control.SlowStart(len(steps), func(i int) error { return c.do(ctx, key, set, steps[i]) })
	}
	for i, s := range steps {
		if err := c.do(ctx, key, set, s); err != nil {
			return i + 1, err
		}
	}
	return len(steps), nil
}

func (c *Controller) unexpect(key string, steps []step) {
	for _, s := range steps {
		switch s.verb {
		case create:
			c.expect.Created(key, 1)
		case remove:
			c.expect.Deleted(key, s.pod.UID)
		}
	}
}

// do does one step. What it fails to make or delete is expected no more.
func (c *Controller) do(ctx context.Context, key string, set *appsv1.StatefulSet, s step) error {
	var err error
	switch s.verb {
	case create:
		err = c.createPod(ctx, set, s)
	case remove:
		err = c.deletePodOf(ctx, key, set, s.pod)
	case claims:
		if err = c.makeClaims(ctx, set, s); err != nil {
			c.tell(set, s.pod, "Update", err)
		}
	case own:
		err = c.ownClaims(ctx, set, s)
	case repair:
		err = c.repairPod(ctx, set, s)
		c.tell(set, s.pod, "Update", err)
	}
	if err != nil {
		c.unexpect(key, []step{s})
	}
	return err
}

// tell records an event about a pod.
func (c *Controller) tell(set *appsv1.StatefulSet, p *v1.Pod, verb string, err error) {
	if err != nil {
		c.events.Eventf(set, v1.EventTypeWarning, "Failed"+verb, "%s Pod %s in StatefulSet %s failed error: %s", verb, p.Name, set.Name, err)
		return
	}
	c.events.Eventf(set, v1.EventTypeNormal, "Successful"+verb, "%s Pod %s in StatefulSet %s successful", verb, p.Name, set.Name)
}

func (c *Controller) createPod(ctx context.Context, set *appsv1.StatefulSet, s step) error {
	if err := c.makeClaims(ctx, set, s); err != nil {
		c.tell(set, s.pod, "Create", err)
		return err
	}
	_, err := c.kit.Client.CoreV1().Pods(set.Namespace).Create(ctx, s.pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		// Not seen yet, or somebody else's: then its deletion wakes the set.
		return fmt.Errorf("a pod %s is there already: %w", s.pod.Name, err)
	}
	c.tell(set, s.pod, "Create", err)
	if err != nil {
		return fmt.Errorf("create pod %s: %w", s.pod.Name, err)
	}
	return nil
}

func (c *Controller) deletePodOf(ctx context.Context, key string, set *appsv1.StatefulSet, p *v1.Pod) error {
	err := c.kit.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
	})
	if apierrors.IsNotFound(err) {
		c.expect.Deleted(key, p.UID) // it may have been seen already
		return nil
	}
	c.tell(set, p, "Delete", err)
	if err != nil {
		return fmt.Errorf("delete pod %s: %w", p.Name, err)
	}
	return nil
}

// makeClaims makes the claims of a pod that are missing.
func (c *Controller) makeClaims(ctx context.Context, set *appsv1.StatefulSet, s step) error {
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return nil
	}
	indexer, err := c.claims.Indexer(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for i := range set.Spec.VolumeClaimTemplates {
		claim := newClaim(set, &set.Spec.VolumeClaimTemplates[i], s.ordinal)
		if there := cachedClaim(indexer, set.Namespace, claim.Name); there != nil {
			if there.DeletionTimestamp != nil {
				failures = append(failures, fmt.Errorf("pvc %s is being deleted", claim.Name))
			}
			continue
		}
		if bySet, _ := claimOwners(set, s.ordinal); bySet {
			claim.OwnerReferences = append(claim.OwnerReferences, *metav1.NewControllerRef(set, kind))
		}
		_, err := c.kit.Client.CoreV1().PersistentVolumeClaims(set.Namespace).Create(ctx, claim, metav1.CreateOptions{})
		switch {
		case err == nil:
			c.events.Eventf(set, v1.EventTypeNormal, "SuccessfulCreate", "Create Claim %s Pod %s in StatefulSet %s success", claim.Name, s.pod.Name, set.Name)
		case !apierrors.IsAlreadyExists(err):
			c.events.Eventf(set, v1.EventTypeWarning, "FailedCreate", "Create Claim %s for Pod %s in StatefulSet %s failed error: %s", claim.Name, s.pod.Name, set.Name, err)
			failures = append(failures, fmt.Errorf("failed to create PVC %s: %w", claim.Name, err))
		}
	}
	return errors.Join(failures...)
}

// ownClaims gives the claims of a pod the owners that the set's policy asks for.
func (c *Controller) ownClaims(ctx context.Context, set *appsv1.StatefulSet, s step) error {
	indexer, err := c.claims.Indexer(ctx)
	if err != nil {
		return err
	}
	for i := range set.Spec.VolumeClaimTemplates {
		claim := cachedClaim(indexer, set.Namespace, claimName(set, &set.Spec.VolumeClaimTemplates[i], s.ordinal))
		if claim == nil {
			continue
		}
		v := judge(set, s.pod, s.ordinal, claim.OwnerReferences)
		if v.conflict {
			c.events.Eventf(set, v1.EventTypeWarning, "ConflictingController",
				"PersistentVolumeClaim %s has a conflicting OwnerReference that acts as a managing controller, the retention policy is ignored for this claim", claim.Name)
		}
		if !v.change {
			continue
		}
		// The resource version holds the patch to the owners that were judged.
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": claim.UID, "resourceVersion": claim.ResourceVersion, "ownerReferences": v.refs,
		}})
		if err != nil {
			return err
		}
		if _, err := c.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("could not update claim %s for delete policy ownerRefs: %w", claim.Name, err)
		}
	}
	return nil
}

// repairPod gives a pod back the labels and the storage that make it the one of its
// number. The cache does not have all of it, so it is read first.
func (c *Controller) repairPod(ctx context.Context, set *appsv1.StatefulSet, s step) error {
	if err := c.makeClaims(ctx, set, s); err != nil {
		return err
	}
	api := c.kit.Client.CoreV1().Pods(set.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		p, err := api.Get(ctx, s.pod.Name, metav1.GetOptions{})
		if err != nil || p.UID != s.pod.UID {
			return err
		}
		identify(p, s.ordinal)
		if !storageMatches(set, p, s.ordinal) {
			p.Spec.Volumes = volumes(set, p.Spec.Volumes, s.ordinal)
		}
		_, err = api.Update(ctx, p, metav1.UpdateOptions{})
		return err
	})
}
