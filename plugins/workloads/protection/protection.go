package protection

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The finalizers.
const (
	claimFinalizer  = "kubernetes.io/pvc-protection"
	volumeFinalizer = "kubernetes.io/pv-protection"
)

// step is what an object needs.
type step int

const (
	nothing step = iota
	// protect: it has no finalizer, because it is older than its admission.
	protect
	// release: it is to be deleted, and may be if nobody uses it.
	release
)

func next(o metav1.Object, finalizer string) step {
	has := slices.Contains(o.GetFinalizers(), finalizer)
	switch {
	case o.GetDeletionTimestamp() == nil && !has:
		return protect
	case o.GetDeletionTimestamp() != nil && has:
		return release
	}
	return nothing
}

// patcher sends a strategic merge patch of one object.
type patcher func(ctx context.Context, name string, patch []byte) error

// write adds or takes off a finalizer. That the object is gone is no error.
func write(ctx context.Context, o metav1.Object, finalizer string, s step, send patcher) error {
	meta := map[string]any{"uid": o.GetUID()}
	if s == protect {
		meta["finalizers"] = []string{finalizer}
	} else {
		meta["$deleteFromPrimitiveList/finalizers"] = []string{finalizer}
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	err = send(ctx, o.GetName(), patch)
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("finalizer %s of %s: %w", finalizer, o.GetName(), err)
}

const patchType = types.StrategicMergePatchType
