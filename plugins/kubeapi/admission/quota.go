package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// ResourceQuota charges the quotas of a namespace with what is written there, before it is
// written, and refuses what does not fit. Requests that come while a charge of their
// namespace is being written wait and are charged together with the next one.
type ResourceQuota struct {
	writer resource.Writer
	off    bool

	mu    sync.Mutex
	lines map[string]*line // by namespace; only of those where somebody waits
}

var _ admission.Validator = (*ResourceQuota)(nil)

// Validate implements the SDK's admission.Validator.
func (q *ResourceQuota) Validate(ctx context.Context, r *admission.Request) error {
	if q.off || r.Namespace == "" || r.Reader == nil || !mayCharge(r.Request) {
		return nil
	}
	quotas, err := r.Reader.List(ctx, resourceQuotas, r.Namespace)
	if err != nil {
		return fmt.Errorf("listing quotas of %s: %w", r.Namespace, err)
	}
	if len(quotas) == 0 {
		return nil
	}
	gr := r.Resource.GroupResource()
	w := &waiter{
		request: r.Request, evaluator: quota.For(gr, cluster{r.Reader}), done: make(chan struct{}), lead: make(chan struct{}),
		write: quota.Request{Operation: quota.Operation(r.Operation), Resource: gr, Subresource: r.Subresource},
	}
	if w.write.Object, err = typedFor(gr, r.Object); err != nil {
		return err
	}
	if r.Old != nil {
		if w.write.Old, err = typedFor(gr, r.Old); err != nil {
			return err
		}
	}
	if !w.evaluator.Handles(w.write) {
		return nil
	}
	q.wait(ctx, r.Namespace, w)
	var refusal *quota.Refusal
	if errors.As(w.err, &refusal) {
		return forbidden(r.Request, "%w", refusal)
	}
	return w.err
}

// mayCharge tells at a glance whether a write can use something of a quota.
func mayCharge(r *resource.Request) bool {
	gr := r.Resource.GroupResource()
	switch r.Operation {
	case resource.Create:
		return r.Subresource == "" && gr != namespaces && !quota.Ignored(gr)
	case resource.Update:
	default:
		return false
	}
	switch gr {
	case quota.Pods:
		return r.Subresource == "" || r.Subresource == "resize"
	case quota.Claims:
		return r.Subresource == "" || r.Subresource == "status"
	case quota.Services, quota.ResourceClaims:
		return r.Subresource == ""
	}
	return false
}

// typedFor converts an object for the evaluator of its type, nil where it wants none.
func typedFor(gr schema.GroupResource, object map[string]any) (any, error) {
	into := quota.Typed(gr)
	if into == nil {
		return nil, nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, into); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", gr, err)
	}
	return into, nil
}

// cluster reads for evaluators.
type cluster struct{ reader resource.Reader }

var _ quota.Cluster = cluster{}

var deviceClasses = schema.GroupResource{Group: resourcev1.GroupName, Resource: "deviceclasses"}

// DeviceClasses implements quota.Cluster.
func (c cluster) DeviceClasses(ctx context.Context) ([]resourcev1.DeviceClass, error) {
	return listOf[resourcev1.DeviceClass](ctx, c.reader, deviceClasses, "")
}

// ResourceClaims implements quota.Cluster.
func (c cluster) ResourceClaims(ctx context.Context, namespace string) ([]resourcev1.ResourceClaim, error) {
	return listOf[resourcev1.ResourceClaim](ctx, c.reader, quota.ResourceClaims, namespace)
}

// Pod implements quota.Cluster.
func (c cluster) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod, err := c.reader.Get(ctx, pods, namespace, name)
	if err != nil || pod == nil {
		return nil, err
	}
	return tree.Typed[corev1.Pod](pod)
}

func listOf[T any](ctx context.Context, reader resource.Reader, gr schema.GroupResource, namespace string) ([]T, error) {
	list, err := reader.List(ctx, gr, namespace)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", gr, err)
	}
	out := make([]T, 0, len(list))
	for _, v := range list {
		t, err := tree.Typed[T](v)
		if err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return out, nil
}
