package apiserver

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func idle(plugin any) bool {
	i, ok := plugin.(admission.Idler)
	return ok && i.Idle()
}

// rounds of mutation: the second is for what the first one's changes call for.
const rounds = 2

// admissionRequest is a change as admission sees it. It shares the hooks' request, so that
// changes of the object and warnings are one.
func (c *change) admissionRequest() *admission.Request {
	return &admission.Request{
		Request: &c.Request, Options: c.operationOptions(), Managed: c.managed, OldManaged: c.liveManaged, Convert: c.k.convertFor, Decode: c.redecode, Annotate: c.q.annotate,
	}
}

// operationOptions are what the client asks of the operation beside the object.
func (c *change) operationOptions() map[string]any {
	if c.options != nil || c.Operation == resource.Connect {
		return c.options
	}
	// A patch is an update, or a create, to admission.
	kind := map[resource.Operation]string{resource.Create: "CreateOptions", resource.Update: "UpdateOptions", resource.Delete: "DeleteOptions"}[c.Operation]
	c.options = map[string]any{"kind": kind, "apiVersion": "meta.k8s.io/v1"}
	for _, f := range [...]string{"fieldManager", "fieldValidation"} {
		if v := c.q.query.Get(f); v != "" {
			c.options[f] = v
		}
	}
	if c.DryRun {
		c.options["dryRun"] = []any{metav1.DryRunAll}
	}
	return c.options
}

// mutate lets admission change the object, that of the type's own hooks first. What is changed
// after these is decoded and admitted as if the client had sent it.
func (c *change) mutate(ctx context.Context) error {
	if err := c.admitKind(ctx); err != nil {
		return err
	}
	if c.scaled != nil {
		return nil // it was asked about the Scale
	}
	ctx, end := c.q.server.step(ctx, "mutating admission")
	defer end()
	isNew := c.Operation == resource.Create && c.Subresource == ""
	var own *identity
	defer func() {
		if own != nil {
			own.restore(c)
		}
	}()
	begin := func() {
		if isNew && own == nil {
			own = c.anonymous()
		}
	}
	return c.eachMutator(ctx, c.admissionRequest, begin, func() error {
		if own != nil {
			own.restore(c)
			own = nil
		}
		if err := c.settle(ctx); err != nil {
			return err
		}
		begin()
		return nil
	})
}

// eachMutator asks the mutators that are not idle, for a second round where one that others
// have to follow has changed the object. The request is made, and begin called, when the
// first one is asked; changed is called after each change.
func (c *change) eachMutator(ctx context.Context, request func() *admission.Request, begin func(), changed func() error) error {
	var r *admission.Request
	defer func() {
		if r != nil && r.Request != &c.Request {
			c.Warnings = append(c.Warnings, r.Warnings...)
		}
	}()
	again := true
	for round := 0; round < rounds && again && !c.internal; round++ {
		again = false
		for _, m := range c.q.server.cfg.Mutators {
			if idle(m) {
				continue
			}
			if r == nil {
				begin()
				r = request()
				r.Memory = map[any]any{}
			}
			r.Round = round
			did, err := m.Mutate(ctx, r)
			if err != nil {
				c.q.warn(r.Warnings...)
				return hookError(err)
			}
			if !did {
				continue
			}
			if f, ok := m.(admission.Reinvoker); ok && f.Reinvokes() {
				again = true
			}
			if err := changed(); err != nil {
				return err
			}
		}
	}
	return nil
}

// identity is what the server has given a new object before admission, which may neither see
// nor change it.
type identity struct {
	fields map[string]any
	// name that was made of base.
	name, base string
}

var ownFields = [...]string{"uid", "creationTimestamp", "generation"}

// anonymous takes from a new object what the server has given it.
func (c *change) anonymous() *identity {
	meta := jsontree.Map(c.Object, "metadata")
	own := &identity{fields: map[string]any{}}
	for _, f := range ownFields {
		if v, ok := meta[f]; ok {
			own.fields[f] = v
			delete(meta, f)
		}
	}
	if c.generated {
		own.name = c.Name
		own.base, _ = meta["generateName"].(string)
		c.Name = ""
		delete(meta, "name")
	}
	return own
}

// restore gives a new object back what anonymous has taken from it.
func (own *identity) restore(c *change) {
	meta, ok := c.Object["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		c.Object["metadata"] = meta
	}
	for _, f := range [...]string{"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		delete(meta, f)
	}
	for _, f := range ownFields {
		delete(meta, f)
		if v, ok := own.fields[f]; ok {
			meta[f] = v
		}
	}
	name, _ := meta["name"].(string)
	base, _ := meta["generateName"].(string)
	if c.generated = name == "" && base != ""; c.generated {
		if name = own.name; name == "" || base != own.base {
			name = generateName(base)
		}
		meta["name"] = name
	}
	c.Name = name
}

// settle decodes an object again that admission has changed. What the server owns stays
// as it was.
func (c *change) settle(ctx context.Context) error {
	meta, err := metaOf(c.Object)
	if err != nil {
		return err
	}
	delete(meta, "managedFields")
	if err := c.place(meta); err != nil {
		return err
	}
	if c.Operation == resource.Update {
		if err := c.checkIdentity(meta); err != nil {
			return err
		}
	}
	if err := c.redecode(ctx, c.Object); err != nil {
		return err
	}
	switch {
	case c.Operation == resource.Update:
		c.keepParts()
		c.keepMeta()
	case c.k.Version.Status && !c.k.builtin:
		delete(c.Object, "status")
	}
	return c.admitKind(ctx)
}

// checkIdentity refuses a change of metadata that makes an object another one.
func (c *change) checkIdentity(meta map[string]any) error {
	old := jsontree.Map(c.Old, "metadata")
	var errs field.ErrorList
	for _, f := range [...]string{"name", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		if v, ok := meta[f]; ok && v != nil && v != "" && !jsontree.Equal(v, old[f]) {
			errs = append(errs, field.Invalid(metaPath.Child(f), v, "field is immutable"))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(c.Kind.GroupKind(), c.Name, errs)
}

// redecode makes an object what it would be had a client sent it in its version.
func (c *change) redecode(ctx context.Context, object map[string]any) error {
	k := c.k
	apiVersion, _ := object["apiVersion"].(string)
	name, _ := object["kind"].(string)
	gvk := schema.FromAPIVersionAndKind(apiVersion, name)
	if gvk != k.GVK {
		t, ok := c.q.server.cfg.Registry.LookupKind(gvk)
		if !ok || t.Bucket != k.Bucket {
			return nil
		}
		if k, ok = c.q.server.lookup(t.GVR); !ok {
			return nil
		}
	}
	compiled, err := k.Compiled()
	if err != nil {
		return fmt.Errorf("schema of %s: %w", k.GVK, err)
	}
	if _, err := compiled.Normalize(object); err != nil {
		return apierrors.NewInternalError(fmt.Errorf("admission made a %s that can't be decoded: %w", gvk.Kind, err))
	}
	compiled.Default(object)
	if k.defaulter == nil {
		return nil
	}
	r := c.Request
	r.Kind, r.Object = gvk, object
	if err := k.defaulter.Default(ctx, &r); err != nil {
		return hookError(err)
	}
	return nil
}

// admit lets admission refuse the change.
func (c *change) admit(ctx context.Context) error {
	ctx, end := c.q.server.step(ctx, "validating admission")
	defer end()
	err := c.eachValidator(ctx, c.admissionRequest)
	c.q.warn(c.Warnings...)
	return err
}

func (c *change) eachValidator(ctx context.Context, request func() *admission.Request) error {
	if c.internal {
		return nil
	}
	var r *admission.Request
	for _, v := range c.q.server.cfg.Validators {
		if idle(v) {
			continue
		}
		if r == nil {
			if c.scaled != nil {
				r = c.scaleRequest(scaleOf(c.Object, c.k.Version.Scale))
			} else {
				r = request()
			}
		}
		if err := v.Validate(ctx, r); err != nil {
			c.q.warn(r.Warnings...)
			return hookError(err)
		}
	}
	if r != nil && r.Request != &c.Request {
		c.Warnings = append(c.Warnings, r.Warnings...)
	}
	return nil
}

// admitBody asks about a request whose body is not stored: of a subresource, or of a type
// without objects.
func (c *change) admitBody(ctx context.Context) error {
	changed := func() error { return nil }
	if c.Object != nil && c.Kind == c.k.GVK {
		changed = func() error { return c.redecode(ctx, c.Object) }
	}
	if err := c.eachMutator(ctx, c.admissionRequest, func() {}, changed); err != nil {
		return err
	}
	return c.eachValidator(ctx, c.admissionRequest)
}

// admitDelete asks about the deletion of c.Old.
func (c *change) admitDelete(ctx context.Context, opts *metav1.DeleteOptions) error {
	if c.internal || len(c.q.server.cfg.Mutators)+len(c.q.server.cfg.Validators) == 0 {
		return nil
	}
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(opts)
	if err != nil {
		return fmt.Errorf("delete options: %w", err)
	}
	tree["kind"], tree["apiVersion"] = "DeleteOptions", "meta.k8s.io/v1"
	c.options = tree
	return c.admitBody(ctx)
}

// convertFor returns a copy of an object of the kind in another of its versions.
func (k *kind) convertFor(object map[string]any, to schema.GroupVersionKind) (map[string]any, error) {
	out := jsontree.CopyMap(object)
	if k.converts() {
		return k.convert(&jsontree.Object{Tree: out}, to)
	}
	if to.GroupKind() != k.GVK.GroupKind() {
		return nil, fmt.Errorf("a %s can't be converted to %s", k.GVK, to)
	}
	out["apiVersion"] = to.GroupVersion().String()
	return out, nil
}
