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
	"github.com/pintle-dev/pintle/crd/crdv1"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
)

// reconcile brings one definition into effect. It returns what is to be written to its
// status and whether it waits for something that no event of its own will tell.
func (c *Controller) reconcile(ctx context.Context, o store.Object) (w *store.Write, waiting bool) {
	w, waiting, err := c.tryReconcile(ctx, o)
	return w, c.failed(ctx, o.Key, err) || waiting
}

// failed tells of an error and reports whether it is to be tried again.
func (c *Controller) failed(ctx context.Context, key store.Key, err error) bool {
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return false // a newer state is on its way as an event
	}
	c.log.Warn("a CustomResourceDefinition does not take effect yet", "key", string(key), "error", err)
	return true
}

func (c *Controller) tryReconcile(ctx context.Context, o store.Object) (w *store.Write, waiting bool, err error) {
	summary, err := crdv1.Summary(o.Data)
	if err != nil {
		return nil, false, err
	}
	if crdv1.Settled(summary) {
		return nil, false, c.register(o.Key, summary)
	}
	tree, err := jsontree.DecodeShared(o.Data)
	if err != nil {
		return nil, false, fmt.Errorf("decode: %w", err)
	}
	def, err := crdv1.Decode(tree.Tree)
	if err != nil {
		return nil, false, fmt.Errorf("decode: %w", err)
	}
	if def.DeletionTimestamp != nil {
		waiting, err = c.finish(ctx, o, def, tree.ManagedFields)
		return nil, waiting, err
	}
	changed := crdv1.UpdateStatus(def, c.cfg.Registry.Group(def.Spec.Group), metav1.NewTime(c.cfg.Now()))
	if !slices.Contains(def.Finalizers, crdv1.Finalizer) {
		def.Finalizers = append(def.Finalizers, crdv1.Finalizer)
		changed = true
	}
	established := apihelpers.IsCRDConditionTrue(def, apiextensionsv1.Established)
	if established {
		// Before anybody sees Established, the type is served.
		if err := c.register(o.Key, def); err != nil {
			return nil, false, err
		}
	}
	if changed && c.cfg.Leading() {
		write, err := encode(o, def, tree.ManagedFields)
		if err != nil {
			return nil, false, err
		}
		w = &write
	}
	return w, !established, nil
}

func (c *Controller) register(key store.Key, def *apiextensionsv1.CustomResourceDefinition) error {
	r := registration{generation: def.Generation, uid: string(def.UID),
		gr:          schema.GroupResource{Group: def.Spec.Group, Resource: def.Spec.Names.Plural},
		terminating: def.DeletionTimestamp != nil}
	if c.registered[def.Name] == r {
		return nil
	}
	d, err := crdv1.FromSummary(def, c.schemaOf(key, r.uid))
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

// schemaOf reads schemas out of the stored definition when they are needed: a type that
// nobody uses holds none.
func (c *Controller) schemaOf(key store.Key, uid string) func(version string) (*crdschema.Schema, error) {
	return func(version string) (*crdschema.Schema, error) {
		o, err := c.cfg.Store.Get(context.Background(), key) // it is local
		if err != nil {
			return nil, fmt.Errorf("read the definition: %w", err)
		}
		if crdv1.UID(o.Data) != uid {
			return nil, errors.New("the definition has been deleted and made anew")
		}
		return crdv1.VersionSchema(o.Data, version)
	}
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
		if err := c.register(o.Key, def); err != nil {
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
	w, err := encode(o, def, managed)
	if err != nil {
		return err
	}
	return c.commit(ctx, w)
}

func (c *Controller) commit(ctx context.Context, w store.Write) error {
	if _, err := c.cfg.Store.Write(ctx, w); err != nil {
		return fmt.Errorf("write the status of definition %s: %w", w.Key, err)
	}
	return nil
}

func encode(o store.Object, def *apiextensionsv1.CustomResourceDefinition, managed []byte) (store.Write, error) {
	tree, err := crdv1.Encode(def)
	if err != nil {
		return store.Write{}, err
	}
	if meta := jsontree.Map(tree, "metadata"); meta != nil {
		delete(meta, "managedFields")
	}
	data, at := jsontree.Encode(tree, managed)
	return store.Write{Key: o.Key, Data: data, RevisionAt: at, Expect: store.Expectation(o.Revision)}, nil
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
