package apiserver

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func idle(plugin any) bool {
	i, ok := plugin.(admission.Idler)
	return ok && i.Idle()
}

// admissionRequest is a change as admission sees it. It shares the hooks' request, so that
// changes of the object and warnings are one.
func (c *change) admissionRequest() *admission.Request {
	return &admission.Request{
		Request: &c.Request, Options: c.operationOptions(), Convert: c.k.convertFor, Annotate: func(string, string) {},
	}
}

// operationOptions are what the client asks of the operation beside the object.
func (c *change) operationOptions() map[string]any {
	if c.options == nil {
		kind := map[resource.Operation]string{resource.Create: "CreateOptions", resource.Update: "UpdateOptions", resource.Delete: "DeleteOptions"}[c.Operation]
		if c.Operation != resource.Delete && c.q.route.verb == "patch" {
			kind = "PatchOptions"
		}
		c.options = map[string]any{"kind": kind, "apiVersion": "meta.k8s.io/v1"}
		for _, f := range [...]string{"fieldManager", "fieldValidation"} {
			if v := c.q.query.Get(f); v != "" {
				c.options[f] = v
			}
		}
		if c.DryRun {
			c.options["dryRun"] = []any{metav1.DryRunAll}
		}
		if kind == "PatchOptions" && c.applied {
			c.options["force"] = isTrue(c.q.query.Get("force"))
		}
	}
	return c.options
}

// mutate lets admission change the object. What it has changed is decoded and prepared
// as if the client had sent it.
func (c *change) mutate(ctx context.Context) error {
	var r *admission.Request
	for _, m := range c.q.server.cfg.Mutators {
		if c.internal || idle(m) {
			continue
		}
		if r == nil {
			r = c.admissionRequest()
		}
		changed, err := m.Mutate(ctx, r)
		if err != nil {
			return hookError(err)
		}
		if changed {
			if err := c.settle(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle decodes an object again that admission has changed. What the server owns stays
// as it was.
func (c *change) settle(ctx context.Context) error {
	meta, err := metaOf(c.Object)
	if err != nil {
		return err
	}
	if err := c.place(meta); err != nil {
		return err
	}
	if name, _ := meta["name"].(string); c.Name != "" && name != c.Name {
		return apierrors.NewBadRequest(fmt.Sprintf("admission may not change the name of %s %q", c.k.gr, c.Name))
	}
	if err := c.decoded(ctx, nil); err != nil {
		return err
	}
	if c.Operation == resource.Update && c.Subresource == "" {
		c.keepMeta()
	}
	return nil
}

// admit lets admission refuse the change.
func (c *change) admit(ctx context.Context) error {
	var r *admission.Request
	for _, v := range c.q.server.cfg.Validators {
		if c.internal || idle(v) {
			continue
		}
		if r == nil {
			r = c.admissionRequest()
		}
		if err := v.Validate(ctx, r); err != nil {
			return hookError(err)
		}
	}
	c.q.warn(c.Warnings...)
	return nil
}

// admitBody asks about a request whose body is not stored: of a subresource, or of a type
// without objects.
func (c *change) admitBody(ctx context.Context) error {
	if c.internal {
		return nil
	}
	var r *admission.Request
	for _, m := range c.q.server.cfg.Mutators {
		if idle(m) {
			continue
		}
		if r == nil {
			r = c.admissionRequest()
		}
		if _, err := m.Mutate(ctx, r); err != nil {
			return hookError(err)
		}
	}
	for _, v := range c.q.server.cfg.Validators {
		if idle(v) {
			continue
		}
		if r == nil {
			r = c.admissionRequest()
		}
		if err := v.Validate(ctx, r); err != nil {
			return hookError(err)
		}
	}
	return nil
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

// admitConnect asks about a byte stream. The object is the stream's options, as they stand
// in the query.
func (q *request) admitConnect(sub *crd.Subresource) error {
	if len(q.server.cfg.Mutators)+len(q.server.cfg.Validators) == 0 {
		return nil
	}
	c, err := q.newChange(resource.Connect, false)
	if err != nil {
		return err
	}
	c.Kind = q.kind.kindOf(sub)
	c.Object = map[string]any{"kind": c.Kind.Kind, "apiVersion": c.Kind.GroupVersion().String()}
	for name, values := range q.query {
		switch len(values) {
		case 0:
		case 1:
			c.Object[name] = values[0]
		default:
			list := make([]any, len(values))
			for i, v := range values {
				list[i] = v
			}
			c.Object[name] = list
		}
	}
	c.options = map[string]any{}
	if err := c.admitBody(q.ctx); err != nil {
		return err
	}
	q.warn(c.Warnings...)
	return nil
}

// convertFor returns a copy of an object of the kind in another of its versions.
func (k *kind) convertFor(object map[string]any, to schema.GroupVersionKind) (map[string]any, error) {
	out := jsontree.CopyMap(object)
	if k.converter != nil {
		out, err := k.converter.Convert(out, to)
		if err != nil {
			return nil, fmt.Errorf("convert to %s: %w", to, err)
		}
		return out, nil
	}
	if to.GroupKind() != k.GVK.GroupKind() {
		return nil, fmt.Errorf("a %s can't be converted to %s", k.GVK, to)
	}
	out["apiVersion"] = to.GroupVersion().String()
	return out, nil
}
