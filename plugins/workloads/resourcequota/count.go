package resourcequota

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
)

// page is how many objects are in memory at a time while they are counted.
const page = 500

// counter counts objects by asking the API server.
type counter struct {
	client kubernetes.Interface
	meta   metadata.Interface
	types  *resolver
}

// count returns what the objects of a quota's namespace use of it. Names of types that are not
// served are left out, and so are those that can't be counted now: these are in the error.
func (c *counter) count(ctx context.Context, q *v1.ResourceQuota) (v1.ResourceList, error) {
	hard := quota.Names(q.Spec.Hard)
	total, failed := v1.ResourceList{}, map[v1.ResourceName]bool{}
	var errs []error
	for _, gr := range quota.Counted(hard) {
		e := quota.For(gr, &cluster{client: c.client})
		names := e.Names(hard)
		used, err := c.usage(ctx, gr, e, q, names)
		switch {
		case apierrors.IsNotFound(err):
			c.types.forget(gr)
		case err != nil:
			errs = append(errs, fmt.Errorf("counting %s: %w", gr, err))
			for _, name := range names {
				failed[name] = true
			}
		default:
			total = quota.Add(total, quota.Mask(used, names))
		}
	}
	for name := range failed {
		delete(total, name)
	}
	return total, errors.Join(errs...)
}

func (c *counter) usage(ctx context.Context, gr schema.GroupResource, e quota.Evaluator, q *v1.ResourceQuota, names []v1.ResourceName) (v1.ResourceList, error) {
	used := zero(names)
	if quota.Typed(gr) == nil {
		if in, err := quota.InScopes(q, e, nil); err != nil || !in {
			return used, err
		}
		n, err := c.number(ctx, gr, q.Namespace)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			used[name] = *resource.NewQuantity(n, resource.DecimalSI)
		}
		return used, nil
	}
	err := c.each(ctx, gr, q.Namespace, func(object any) error {
		in, err := quota.InScopes(q, e, object)
		if err != nil || !in {
			return err
		}
		usage, err := e.Usage(ctx, object)
		used = quota.Add(used, quota.Mask(usage, names))
		return err
	})
	return used, err
}

// number asks for one object and how many there are beside it.
func (c *counter) number(ctx context.Context, gr schema.GroupResource, namespace string) (int64, error) {
	gvr, err := c.types.resolve(gr)
	if err != nil {
		return 0, err
	}
	var n int64
	options := metav1.ListOptions{Limit: 1}
	for {
		list, err := c.meta.Resource(gvr).Namespace(namespace).List(ctx, options)
		if err != nil {
			return 0, err
		}
		n += int64(len(list.Items))
		if rest := list.RemainingItemCount; rest != nil {
			return n + *rest, nil
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return n, nil
		}
		options.Limit = page
	}
}

// each calls fn for each object of a type of which more than the number counts.
func (c *counter) each(ctx context.Context, gr schema.GroupResource, namespace string, fn func(object any) error) error {
	core := c.client.CoreV1()
	switch gr {
	case quota.Pods:
		return pages(ctx, core.Pods(namespace).List, func(l *v1.PodList) error { return all(l.Items, fn) })
	case quota.Services:
		return pages(ctx, core.Services(namespace).List, func(l *v1.ServiceList) error { return all(l.Items, fn) })
	case quota.Claims:
		return pages(ctx, core.PersistentVolumeClaims(namespace).List, func(l *v1.PersistentVolumeClaimList) error { return all(l.Items, fn) })
	case quota.ResourceClaims:
		return pages(ctx, c.client.ResourceV1().ResourceClaims(namespace).List, func(l *resourcev1.ResourceClaimList) error { return all(l.Items, fn) })
	}
	return fmt.Errorf("%s are not counted one by one", gr)
}

// pages lists page after page.
func pages[L metav1.ListInterface](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), fn func(L) error) error {
	options := metav1.ListOptions{Limit: page}
	for {
		l, err := list(ctx, options)
		if err != nil {
			return err
		}
		if err := fn(l); err != nil {
			return err
		}
		if options.Continue = l.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

func all[T any](items []T, fn func(object any) error) error {
	for i := range items {
		if err := fn(&items[i]); err != nil {
			return err
		}
	}
	return nil
}

// cluster reads for evaluators; the lists are read once.
type cluster struct {
	client  kubernetes.Interface
	classes []resourcev1.DeviceClass
	claims  []resourcev1.ResourceClaim
	// read says which of the two have been.
	readClasses, readClaims bool
}

var _ quota.Cluster = (*cluster)(nil)

// DeviceClasses implements quota.Cluster.
func (c *cluster) DeviceClasses(ctx context.Context) ([]resourcev1.DeviceClass, error) {
	if !c.readClasses {
		l, err := c.client.ResourceV1().DeviceClasses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		c.classes, c.readClasses = l.Items, true
	}
	return c.classes, nil
}

// ResourceClaims implements quota.Cluster.
func (c *cluster) ResourceClaims(ctx context.Context, namespace string) ([]resourcev1.ResourceClaim, error) {
	if !c.readClaims {
		l, err := c.client.ResourceV1().ResourceClaims(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		c.claims, c.readClaims = l.Items, true
	}
	return c.claims, nil
}

// Pod implements quota.Cluster.
func (c *cluster) Pod(ctx context.Context, namespace, name string) (*v1.Pod, error) {
	pod, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return pod, err
}
