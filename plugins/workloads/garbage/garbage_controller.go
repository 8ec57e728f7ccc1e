package garbage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// firstSync bounds how long the first listing of all resources is waited for. One that
// can't be listed must not stop the collection of all others.
const firstSync = 30 * time.Second

// Controller is the garbage collector.
type Controller struct {
	kit      control.Kit
	graph    *graph
	monitors *monitors
	client   metadata.Interface
	deletes  *control.Loop
	orphans  *control.Loop
	absent   *absences
}

// New returns the garbage collector. shared are informers that run anyway, by resource;
// all other resources are watched by their metadata.
func New(kit control.Kit, disco discovery.DiscoveryInterface, client metadata.Interface, shared map[schema.GroupVersionResource]cache.SharedIndexInformer) *Controller {
	c := &Controller{kit: kit, client: client, absent: newAbsences()}
	c.deletes = control.NewLoop("garbagecollector", kit.Log, func(ctx context.Context, key string) error {
		return c.attemptDelete(ctx, types.UID(key))
	})
	c.orphans = control.NewLoop("garbagecollector/orphan", kit.Log, func(ctx context.Context, key string) error {
		return c.attemptOrphan(ctx, types.UID(key))
	})
	c.graph = newGraph((*attention)(c))
	c.monitors = newMonitors(kit.Log, disco, client, c.graph, shared)
	return c
}

// attention is the controller as the graph sees it.
type attention Controller

func (a *attention) Delete(uid types.UID) { a.deletes.Add(string(uid)) }
func (a *attention) Orphan(uid types.UID) { a.orphans.Add(string(uid)) }
func (a *attention) Gone(uid types.UID)   { a.absent.add(identity{UID: uid}) }

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.monitors.run(ctx) })
	c.monitors.waitForSync(ctx, firstSync)
	wg.Go(func() { c.orphans.Run(ctx, 4) })
	c.deletes.Run(ctx, 16)
}

// target returns the client for an object of the graph.
func (c *Controller) target(id *identity) (metadata.ResourceInterface, error) {
	r, ok := c.monitors.resource(id.Kind)
	if !ok {
		return nil, fmt.Errorf("no resource is served for %s", id.Kind)
	}
	if r.namespaced {
		return c.client.Resource(r.resource).Namespace(id.Namespace), nil
	}
	return c.client.Resource(r.resource), nil
}

// live reads an object. It returns nil where there is none of that UID any more.
func (c *Controller) live(ctx context.Context, id *identity) (*metav1.PartialObjectMetadata, error) {
	r, err := c.target(id)
	if err != nil {
		return nil, err
	}
	obj, err := r.Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", id.Kind.Kind, id.Namespace, id.Name, err)
	}
	if obj.UID != id.UID {
		return nil, nil
	}
	return obj, nil
}

// attemptDelete deletes an object if its owners want that.
func (c *Controller) attemptDelete(ctx context.Context, uid types.UID) error {
	n, ok := c.graph.get(uid)
	if !ok || (n.deleting && !n.foreground) {
		return nil
	}
	if n.foreground {
		return c.finishForeground(ctx, &n)
	}
	if c.graph.hasAllOwners(uid) {
		return nil
	}
	obj, err := c.live(ctx, &n.identity)
	if err != nil {
		return err
	}
	if obj == nil {
		c.absent.add(n.identity)
		c.graph.remove(uid)
		return nil
	}
	if n.virtual || len(obj.OwnerReferences) == 0 || obj.DeletionTimestamp != nil {
		return nil
	}
	states := make(map[types.UID]ownerState, len(obj.OwnerReferences))
	for i := range obj.OwnerReferences {
		ref := &obj.OwnerReferences[i]
		if states[ref.UID], err = c.state(ctx, ref, n.Namespace); err != nil {
			return err
		}
	}
	return c.execute(ctx, &n, obj, judge(states, obj.Finalizers, c.graph.dependents(uid)))
}

// execute carries out a verdict.
func (c *Controller) execute(ctx context.Context, n *view, obj *metav1.PartialObjectMetadata, v verdict) error {
	if len(v.drop) > 0 {
		return c.patchOwners(ctx, &n.identity, obj, without(obj.OwnerReferences, v.drop...))
	}
	if !v.remove {
		return nil
	}
	options := metav1.DeleteOptions{
		PropagationPolicy: &v.policy,
		// An object that has changed meanwhile may have another owner now.
		Preconditions: &metav1.Preconditions{UID: &n.UID, ResourceVersion: &obj.ResourceVersion},
	}
	if v.unblock {
		if err := c.patchOwners(ctx, &n.identity, obj, unblocking(obj.OwnerReferences)); err != nil {
			return err
		}
		options.Preconditions.ResourceVersion = nil
	}
	r, err := c.target(&n.identity)
	if err != nil {
		return err
	}
	err = r.Delete(ctx, n.Name, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %s/%s: %w", n.Kind.Kind, n.Namespace, n.Name, err)
	}
	return nil
}

// state finds out about an owner: from the graph, else from the API server.
func (c *Controller) state(ctx context.Context, ref *metav1.OwnerReference, namespace string) (ownerState, error) {
	if owner, ok := c.graph.get(ref.UID); ok && !owner.virtual {
		known := node{identity: owner.identity}
		if !refersTo(ref, namespace, &known) {
			return absent, nil
		}
		if owner.foreground {
			return waiting, nil
		}
		return solid, nil
	}
	id := identity{UID: ref.UID, Kind: schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind), Namespace: namespace, Name: ref.Name}
	if c.absent.has(id) {
		return absent, nil
	}
	r, ok := c.monitors.resource(id.Kind)
	if !ok {
		return solid, fmt.Errorf("owner %s %q: no resource is served for %s", ref.Kind, ref.Name, id.Kind)
	}
	if r.namespaced && namespace == "" {
		// What belongs to the cluster can't be owned by what is in a namespace.
		return absent, nil
	}
	obj, err := c.live(ctx, &id)
	if err != nil {
		return solid, err
	}
	if obj == nil {
		c.absent.add(id)
		return absent, nil
	}
	if obj.DeletionTimestamp != nil && slices.Contains(obj.Finalizers, metav1.FinalizerDeleteDependents) {
		return waiting, nil
	}
	return solid, nil
}

// finishForeground deletes what blocks an owner, and the finalizer when nothing does.
func (c *Controller) finishForeground(ctx context.Context, n *view) error {
	blocked := false
	dependents := c.graph.dependents(n.UID)
	for i := range dependents {
		if d := &dependents[i]; d.blocks(n.UID) {
			blocked = true
			if !d.foreground && !d.deleting {
				c.deletes.Add(string(d.UID))
			}
		}
	}
	if blocked {
		return nil
	}
	return c.removeFinalizer(ctx, &n.identity, metav1.FinalizerDeleteDependents)
}

// attemptOrphan lets the dependents of an object go, then the object.
func (c *Controller) attemptOrphan(ctx context.Context, uid types.UID) error {
	n, ok := c.graph.get(uid)
	if !ok || !n.orphan {
		return nil
	}
	var failures []error
	for _, d := range c.graph.dependents(uid) {
		obj, err := c.live(ctx, &d.identity)
		if err == nil && obj != nil {
			err = c.patchOwners(ctx, &d.identity, obj, without(obj.OwnerReferences, uid))
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("orphan the dependents of %s %s/%s: %w", n.Kind.Kind, n.Namespace, n.Name, errors.Join(failures...))
	}
	return c.removeFinalizer(ctx, &n.identity, metav1.FinalizerOrphanDependents)
}

func (c *Controller) patchOwners(ctx context.Context, id *identity, obj *metav1.PartialObjectMetadata, refs []metav1.OwnerReference) error {
	if len(refs) == 0 {
		return c.patch(ctx, id, obj, "ownerReferences", nil)
	}
	return c.patch(ctx, id, obj, "ownerReferences", refs)
}

func (c *Controller) removeFinalizer(ctx context.Context, id *identity, finalizer string) error {
	obj, err := c.live(ctx, id)
	if err != nil || obj == nil || !slices.Contains(obj.Finalizers, finalizer) {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(obj.Finalizers), func(f string) bool { return f == finalizer })
	if len(rest) == 0 {
		return c.patch(ctx, id, obj, "finalizers", nil)
	}
	return c.patch(ctx, id, obj, "finalizers", rest)
}

// patch replaces one list in the metadata of an object that has not changed since it was
// read. A nil value takes the list off.
func (c *Controller) patch(ctx context.Context, id *identity, obj *metav1.PartialObjectMetadata, field string, value any) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": obj.UID, "resourceVersion": obj.ResourceVersion, field: value,
	}})
	if err != nil {
		return err
	}
	r, err := c.target(id)
	if err != nil {
		return err
	}
	_, err = r.Patch(ctx, id.Name, types.MergePatchType, body, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("change metadata.%s of %s %s/%s: %w", field, id.Kind.Kind, id.Namespace, id.Name, err)
	}
	return nil
}
