package customresources

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/crdv1"
)

// reconcile brings one definition into effect and reports whether it waits for something
// that no event of its own will tell.
func (c *Controller) reconcile(ctx context.Context, o store.Object) (waiting bool) {
	waiting, err := c.tryReconcile(ctx, o)
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return waiting // a newer state is on its way as an event
	}
	c.log.Warn("a CustomResourceDefinition does not take effect yet", "key", string(o.Key), "error", err)
	return true
}

func (c *Controller) tryReconcile(ctx context.Context, o store.Object) (waiting bool, err error) {
	tree, err := jsontree.DecodeShared(o.Data)
	if err != nil {
		return false, fmt.Errorf("decode: %w", err)
	}
	def, err := crdv1.Decode(tree.Tree)
	if err != nil {
		return false, fmt.Errorf("decode: %w", err)
	}
	if def.DeletionTimestamp != nil {
		return c.finish(ctx, o, def, tree.ManagedFields)
	}
	changed := crdv1.UpdateStatus(def, c.taken(), metav1.NewTime(c.cfg.Now()))
	if !slices.Contains(def.Finalizers, crdv1.Finalizer) {
		def.Finalizers = append(def.Finalizers, crdv1.Finalizer)
		changed = true
	}
	established := apihelpers.IsCRDConditionTrue(def, apiextensionsv1.Established)
	if established {
		// Before anybody sees Established, the type is served.
		if err := c.register(def); err != nil {
			return false, err
		}
	}
	if changed && c.cfg.Leading() {
		if err := c.write(ctx, o, def, tree.ManagedFields); err != nil {
			return false, err
		}
	}
	return !established, nil
}

func (c *Controller) register(def *apiextensionsv1.CustomResourceDefinition) error {
	r := registration{generation: def.Generation, uid: string(def.UID),
		gr:          schema.GroupResource{Group: def.Spec.Group, Resource: def.Spec.Names.Plural},
		terminating: def.DeletionTimestamp != nil}
	if c.registered[def.Name] == r {
		return nil
	}
	d, err := crdv1.FromCRD(def)
	if err != nil {
		return fmt.Errorf("definition %s: %w", def.Name, err)
	}
	d.Terminating = r.terminating
	for i := range d.Versions {
		// A definition that names columns means these and no others.
		d.Versions[i].CompleteColumns = len(d.Versions[i].Columns) > 0
	}
	if err := c.cfg.Registry.Replace(d); err != nil {
		return fmt.Errorf("register %s: %w", def.Name, err)
	}
	c.registered[def.Name] = r
	return nil
}

// taken are all definitions that are registered.
func (c *Controller) taken() crdv1.Taken {
	var taken crdv1.Taken
	seen := map[*crd.Definition]bool{}
	for _, g := range c.cfg.Registry.Snapshot().Groups {
		for _, v := range g.Versions {
			for _, t := range v.Types {
				if !seen[t.Definition] {
					seen[t.Definition] = true
					taken = append(taken, t.Definition)
				}
			}
		}
	}
	return taken
}

// finish deletes the objects of a definition that is being deleted, and lets it go.
func (c *Controller) finish(ctx context.Context, o store.Object, def *apiextensionsv1.CustomResourceDefinition, managed []byte) (waiting bool, err error) {
	if !slices.Contains(def.Finalizers, crdv1.Finalizer) {
		return false, nil
	}
	established := apihelpers.IsCRDConditionTrue(def, apiextensionsv1.Established)
	if established {
		// The type must be served while its objects are deleted, which after a restart it
		// may not be, and must get no new ones.
		if err := c.register(def); err != nil {
			return false, err
		}
	}
	if !c.cfg.Leading() {
		return false, nil
	}
	if established {
		remaining, err := c.cfg.Purger.Purge(ctx, storageResource(def), "customresource-cleanup")
		if err != nil {
			return true, err
		}
		if remaining > 0 {
			return true, c.terminating(ctx, o, def, managed, remaining)
		}
	}
	def.Finalizers = slices.DeleteFunc(def.Finalizers, func(f string) bool { return f == crdv1.Finalizer })
	if len(def.Finalizers) > 0 {
		return false, c.write(ctx, o, def, managed)
	}
	if _, err := c.cfg.Store.Write(ctx, store.Write{Key: o.Key, Delete: true, Expect: store.Expectation(o.Revision)}); err != nil {
		return false, fmt.Errorf("delete definition %s: %w", def.Name, err)
	}
	return false, nil
}

// terminating says in the definition's status what it waits for.
func (c *Controller) terminating(ctx context.Context, o store.Object, def *apiextensionsv1.CustomResourceDefinition, managed []byte, remaining int) error {
	cond := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionInProgress",
		Message: fmt.Sprintf("CustomResource deletion is in progress: %d objects wait for their finalizers", remaining),
	}
	if have := apihelpers.FindCRDCondition(def, cond.Type); have != nil && have.Message == cond.Message {
		return nil
	}
	cond.LastTransitionTime = metav1.NewTime(c.cfg.Now())
	apihelpers.SetCRDCondition(def, cond)
	return c.write(ctx, o, def, managed)
}

func storageResource(def *apiextensionsv1.CustomResourceDefinition) schema.GroupVersionResource {
	gvr := schema.GroupVersionResource{Group: def.Spec.Group, Resource: def.Spec.Names.Plural}
	for _, v := range def.Spec.Versions {
		if v.Served && (gvr.Version == "" || v.Storage) {
			gvr.Version = v.Name
		}
	}
	return gvr
}

func (c *Controller) write(ctx context.Context, o store.Object, def *apiextensionsv1.CustomResourceDefinition, managed []byte) error {
	tree, err := crdv1.Encode(def)
	if err != nil {
		return err
	}
	if meta := jsontree.Map(tree, "metadata"); meta != nil {
		delete(meta, "managedFields")
	}
	data, at := jsontree.Encode(tree, managed)
	if _, err := c.cfg.Store.Write(ctx, store.Write{Key: o.Key, Data: data, RevisionAt: at, Expect: store.Expectation(o.Revision)}); err != nil {
		return fmt.Errorf("write the status of definition %s: %w", def.Name, err)
	}
	return nil
}

// forget takes a deleted definition's type out of service.
func (c *Controller) forget(data []byte) {
	tree, err := jsontree.DecodeShared(data)
	if err != nil {
		return
	}
	name := jsontree.String(tree.Tree, "metadata", "name")
	if r, ok := c.registered[name]; ok {
		c.cfg.Registry.Remove(r.gr)
		delete(c.registered, name)
	}
}
