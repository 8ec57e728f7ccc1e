package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// kindOf is the kind of a subresource's body.
func (k *kind) kindOf(sub *crd.Subresource) schema.GroupVersionKind {
	gvk := schema.GroupVersionKind{Group: sub.Group, Version: sub.Version, Kind: sub.Kind}
	if gvk.Group == "" && gvk.Version == "" {
		gvk.Group, gvk.Version = k.GVK.Group, k.GVK.Version
	}
	if gvk.Version == "" {
		gvk.Version = k.GVK.Version
	}
	return gvk
}

// createSubresource lets the type's hooks turn a body into a change of the parent.
func (q *request) createSubresource(sub *crd.Subresource) error {
	gvk := q.kind.kindOf(sub)
	if err := q.negotiate(media.Offer{Protobuf: protobuf.GoTypes(q.server.cfg.GoTypes).Offers(gvk)}); err != nil {
		return err
	}
	if q.kind.subresourcer == nil {
		return errNoRoute()
	}
	dryRun, err := q.writeOptions("")
	if err != nil {
		return err
	}
	body, err := q.decodeBody(gvk)
	if err != nil {
		return err
	}
	asked, err := q.newChange(resource.Create, dryRun)
	if err != nil {
		return err
	}
	asked.Object, asked.Kind = body.Tree, gvk
	if meta, ok := body.Tree["metadata"].(map[string]any); ok {
		if err := asked.place(meta); err != nil {
			return err
		}
	}
	// Admission is asked once, however often the parent changes meanwhile.
	if err := asked.admitBody(q.ctx); err != nil {
		return err
	}
	before := slices.Concat(q.warnings, asked.Warnings)
	var result resource.SubresourceResult
	_, err = q.retry(true, func(live store.Object) ([]byte, error) {
		c := *asked
		c.Object, c.Warnings = jsontree.CopyMap(asked.Object), nil
		var err error
		result, err = c.changeParent(q.ctx, live)
		return nil, err
	})
	q.warnings = slices.Concat(before, q.warnings)
	if err != nil {
		return err
	}
	if result.Delete {
		opts, err := treeOptions(result.DeleteOptions)
		if err != nil {
			return err
		}
		if dryRun {
			opts.DryRun = []string{metav1.DryRunAll}
		}
		// Admission has seen the eviction; the deletion is the server's own.
		q.internal = true
		if _, err := q.deleteNamed(q.ctx, q.route.name, opts); err != nil {
			return err
		}
	}
	if result.Response == nil {
		return q.respondSuccess(http.StatusCreated, nil)
	}
	if v, _ := result.Response["kind"].(string); v != "" {
		version, _ := result.Response["apiVersion"].(string)
		gvk = schema.FromAPIVersionAndKind(version, v)
	}
	return q.respondTree(http.StatusCreated, gvk, result.Response)
}

// changeParent calls the hooks and writes the parent where they changed it.
func (c *change) changeParent(ctx context.Context, live store.Object) (resource.SubresourceResult, error) {
	parent, err := c.k.decodeStored(live.Data)
	if err != nil {
		return resource.SubresourceResult{}, err
	}
	c.live = live
	result, err := c.k.subresourcer.CreateSubresource(ctx, &c.Request, parent.Tree)
	if err != nil {
		return result, hookError(err)
	}
	c.q.warn(c.Warnings...)
	if result.Delete || c.DryRun {
		return result, nil
	}
	c.Object, c.managed = parent.Tree, parent.ManagedFields
	w, err := c.encode()
	if err != nil {
		return result, err
	}
	if bytes.Equal(c.unstored(w), live.Data) {
		return result, c.q.sure(ctx)
	}
	w.Expect = store.Expectation(live.Revision)
	if _, err := c.q.server.write(ctx, w); err != nil {
		return result, fmt.Errorf("%s of %s %q: %w", c.Subresource, c.k.gr, c.Name, err)
	}
	return result, nil
}

func treeOptions(tree map[string]any) (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	if tree == nil {
		return opts, nil
	}
	if err := json.Unmarshal(jsontree.Append(nil, tree), opts); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("deleteOptions: %v", err))
	}
	return opts, nil
}

// createVirtual answers a create of a type that is not stored.
func (q *request) createVirtual() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf}); err != nil {
		return err
	}
	if q.kind.virtual == nil {
		return errNoRoute()
	}
	dryRun, err := q.writeOptions("")
	if err != nil {
		return err
	}
	body, err := q.decodeBody(q.kind.GVK)
	if err != nil {
		return err
	}
	c, err := q.newChange(resource.Create, dryRun)
	if err != nil {
		return err
	}
	c.Object = body.Tree
	if _, err := metaOf(c.Object); err != nil {
		return err
	}
	if err := c.decoded(q.ctx, body.Duplicates); err != nil {
		return err
	}
	if err := c.admitBody(q.ctx); err != nil {
		return err
	}
	out, err := q.kind.virtual.CreateVirtual(q.ctx, &c.Request)
	q.warn(c.Warnings...)
	if err != nil {
		return hookError(err)
	}
	return q.respondTree(http.StatusCreated, q.kind.GVK, out)
}
