package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

var pods = v1.SchemeGroupVersion.WithResource("pods")

// Controller deletes what is in namespaces that are being deleted.
type Controller struct {
	kit        control.Kit
	disco      discovery.DiscoveryInterface
	metadata   metadata.Interface
	loop       *control.Loop
	namespaces corelisters.NamespaceLister
	watches    control.Watches
	now        func() time.Time
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit, disco discovery.DiscoveryInterface, client metadata.Interface) (*Controller, error) {
	informer := kit.Informers.Core().V1().Namespaces()
	c := &Controller{kit: kit, disco: disco, metadata: client, namespaces: informer.Lister(), now: time.Now}
	c.loop = control.NewLoop("namespace", kit.Log, c.sync)
	return c, c.watches.Add("namespaces", control.Handlers{
		informer.Informer(): control.Seen(func(ns *v1.Namespace) {
			if ns.DeletionTimestamp != nil {
				c.loop.Add(ns.Name)
			}
		}),
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(4)) }

func (c *Controller) sync(ctx context.Context, name string) error {
	cached, err := c.namespaces.Get(name)
	if err != nil || cached.DeletionTimestamp == nil {
		return nil //nolint:nilerr // gone already (all that a lister's error says), or not going
	}
	// The cache may lag behind our own writes; this is rare enough to read afresh.
	ns, err := c.kit.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, v1.FinalizerKubernetes) {
		return nil
	}
	if ns.Status.Phase != v1.NamespaceTerminating {
		ns.Status.Phase = v1.NamespaceTerminating
		if ns, err = c.kit.Client.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{}); err != nil {
			return ignoreGone(err)
		}
	}
	found := c.empty(ctx, name)
	if conditions, changed := found.conditions(ns.Status.Conditions, c.now()); changed {
		ns.Status.Conditions = conditions
		if ns, err = c.kit.Client.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{}); err != nil {
			return ignoreGone(err)
		}
	}
	if !found.empty() {
		if err := found.err(); err != nil {
			return fmt.Errorf("empty namespace %s: %w", name, err)
		}
		c.loop.AddAfter(name, again(ns.DeletionTimestamp.Time, c.now()))
		return nil
	}
	return c.finalize(ctx, ns)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// finalize lets an empty namespace go.
func (c *Controller) finalize(ctx context.Context, ns *v1.Namespace) error {
	ns.Spec.Finalizers = slices.DeleteFunc(slices.Clone(ns.Spec.Finalizers), func(f v1.FinalizerName) bool { return f == v1.FinalizerKubernetes })
	_, err := c.kit.Client.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	return ignoreGone(err)
}

// resource is a type of objects that can be in a namespace.
type resource struct {
	schema.GroupVersionResource
	collection, list bool // verbs it has
}

// empty deletes all that is in a namespace and returns what is left.
func (c *Controller) empty(ctx context.Context, namespace string) *finding {
	found := newFinding()
	list := c.resources(found)
	// Pods first: as long as they run they may use what else is there.
	slices.SortStableFunc(list, func(a, b resource) int {
		switch {
		case a.GroupVersionResource == pods:
			return -1
		case b.GroupVersionResource == pods:
			return 1
		}
		return 0
	})
	for _, r := range list {
		if err := c.emptyOne(ctx, namespace, r, found); err != nil {
			found.content = append(found.content, fmt.Errorf("%s: %w", r.GroupResource(), err))
		}
		if r.GroupVersionResource == pods && found.remaining[pods] > 0 {
			break
		}
	}
	return found
}

// resources asks the API server which types of objects can be in a namespace.
func (c *Controller) resources(found *finding) []resource {
	all, err := control.Discover(c.disco)
	var partial *discovery.ErrGroupDiscoveryFailed
	switch {
	case err == nil:
	case errors.As(err, &partial) || all == nil:
		found.discovery = err
	default:
		found.parsing = err
	}
	var out []resource
	for _, r := range all {
		if !r.Preferred || !r.Namespaced || !slices.Contains(r.Verbs, "delete") {
			continue
		}
		out = append(out, resource{
			GroupVersionResource: r.GroupVersionResource,
			collection:           slices.Contains(r.Verbs, "deletecollection"),
			list:                 slices.Contains(r.Verbs, "list"),
		})
	}
	return out
}

// emptyOne deletes the objects of one type and notes those that are left.
func (c *Controller) emptyOne(ctx context.Context, namespace string, r resource, found *finding) error {
	client := c.metadata.Resource(r.GroupVersionResource).Namespace(namespace)
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if !r.list {
		if !r.collection {
			return nil
		}
		return unlessUnsupported(client.DeleteCollection(ctx, options, metav1.ListOptions{}))
	}
	// Most types have nothing in a namespace: looking is cheaper than deleting nothing.
	left, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return unlessUnsupported(err)
	}
	if len(left.Items) == 0 {
		return nil
	}
	if r.collection {
		err = client.DeleteCollection(ctx, options, metav1.ListOptions{})
	}
	if !r.collection || apierrors.IsMethodNotSupported(err) {
		err = nil
		for i := range left.Items {
			if e := client.Delete(ctx, left.Items[i].Name, options); e != nil && !apierrors.IsNotFound(e) {
				err = e
			}
		}
	}
	if err != nil {
		return err
	}
	if left, err = client.List(ctx, metav1.ListOptions{}); err != nil {
		return unlessUnsupported(err)
	}
	for i := range left.Items {
		found.remaining[r.GroupVersionResource]++
		for _, f := range left.Items[i].Finalizers {
			found.finalizers[f]++
		}
	}
	return nil
}

// unlessUnsupported drops errors of types that are not served (any more) or do not do
// what discovery said.
func unlessUnsupported(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	return err
}
