package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Claimer makes an owner the controller of the objects that its selector matches: it
// adopts those that have none and releases its own that match no more.
type Claimer[T metav1.Object] struct {
	Owner    metav1.Object
	Kind     schema.GroupVersionKind
	Selector labels.Selector
	// Finalizer is what adopted objects get and released ones lose; "" for none.
	Finalizer string
	// Belongs says what an object must meet beside the selector, nil for nothing.
	Belongs func(obj T) bool
	// Adoptable says which objects without a controller are thought of at all where they are
	// looked up, nil for all.
	Adoptable func(obj T) bool
	// Live reads the owner from the API server. Nothing is adopted for an owner that is
	// gone or going.
	Live func(ctx context.Context) (metav1.Object, error)
	// Patch sends a strategic merge patch of one object.
	Patch func(ctx context.Context, obj T, patch []byte) error

	checked bool
	refusal error
}

// ClaimFrom claims of what a cache holds that has the indexes of IndexOwners: what the
// owner controls, and what nobody does in its namespace.
func (c *Claimer[T]) ClaimFrom(ctx context.Context, indexer cache.Indexer) ([]T, error) {
	objs, err := Indexed[T](indexer, ByController, string(c.Owner.GetUID()))
	if err != nil {
		return nil, err
	}
	orphans, err := Indexed[T](indexer, ByOrphan, c.Owner.GetNamespace())
	if err != nil {
		return nil, err
	}
	for _, obj := range orphans {
		if c.Adoptable == nil || c.Adoptable(obj) {
			objs = append(objs, obj)
		}
	}
	return c.Claim(ctx, objs)
}

// Claim returns those of objs that the owner controls now.
func (c *Claimer[T]) Claim(ctx context.Context, objs []T) ([]T, error) {
	var claimed []T
	var failures []error
	for _, obj := range objs {
		mine, err := c.claim(ctx, obj)
		if err != nil {
			failures = append(failures, err)
		}
		if mine {
			claimed = append(claimed, obj)
		}
	}
	return claimed, errors.Join(failures...)
}

func (c *Claimer[T]) claim(ctx context.Context, obj T) (bool, error) {
	matches := c.Selector.Matches(labels.Set(obj.GetLabels())) && (c.Belongs == nil || c.Belongs(obj))
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		if ref.UID != c.Owner.GetUID() {
			return false, nil
		}
		if matches || c.Owner.GetDeletionTimestamp() != nil {
			return matches, nil
		}
		return false, c.release(ctx, obj)
	}
	if !matches || c.Owner.GetDeletionTimestamp() != nil || obj.GetDeletionTimestamp() != nil {
		return false, nil
	}
	err := c.adopt(ctx, obj)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *Claimer[T]) adopt(ctx context.Context, obj T) error {
	if !c.checked {
		c.checked = true
		c.refusal = c.mayAdopt(ctx)
	}
	if c.refusal != nil {
		return fmt.Errorf("%s %s/%s can't adopt %s: %w", c.Kind.Kind, c.Owner.GetNamespace(), c.Owner.GetName(), obj.GetName(), c.refusal)
	}
	meta := map[string]any{
		"uid":             obj.GetUID(),
		"ownerReferences": []metav1.OwnerReference{*metav1.NewControllerRef(c.Owner, c.Kind)},
	}
	if c.Finalizer != "" {
		meta["finalizers"] = []string{c.Finalizer}
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	return c.Patch(ctx, obj, patch)
}

func (c *Claimer[T]) mayAdopt(ctx context.Context) error {
	live, err := c.Live(ctx)
	if err != nil {
		return err
	}
	if live.GetUID() != c.Owner.GetUID() {
		return errors.New("it is gone; there is another one of that name")
	}
	if live.GetDeletionTimestamp() != nil {
		return errors.New("it is being deleted")
	}
	return nil
}

func (c *Claimer[T]) release(ctx context.Context, obj T) error {
	meta := map[string]any{
		"uid":             obj.GetUID(),
		"ownerReferences": []map[string]any{{"$patch": "delete", "uid": c.Owner.GetUID()}},
	}
	if c.Finalizer != "" {
		meta["$deleteFromPrimitiveList/finalizers"] = []string{c.Finalizer}
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	err = c.Patch(ctx, obj, patch)
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		// Gone, or no longer with this owner: released either way.
		return nil
	}
	return err
}
