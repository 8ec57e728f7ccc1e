package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/conversion"
	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// webhookConversion is the strategy of definitions whose versions a webhook converts.
const webhookConversion = "Webhook"

// versions converts objects of one type between its versions.
type versions struct {
	server    *Server
	converter func() VersionConverter
	// byPlugin says that a converter's errors of the API are meant for clients.
	byPlugin bool
}

// newVersions returns nil where versions differ by their apiVersion only. What a type does beside
// its data comes before what its definition says.
func (s *Server) newVersions(d *crd.Definition, hooks any) *versions {
	if convert := resource.Conversion(hooks); convert != nil {
		return &versions{server: s, converter: func() VersionConverter { return conversion.ByHook(convert) }, byPlugin: true}
	}
	if d.Conversion == nil || d.Conversion.Strategy != webhookConversion || s.cfg.Conversion == nil {
		return nil
	}
	return &versions{server: s, converter: sync.OnceValue(func() VersionConverter { return s.cfg.Conversion(d) })}
}

// converts reports whether forms of k differ by more than their apiVersion.
func (k *kind) converts() bool { return k.converter != nil || k.versions != nil }

// convert brings an object, which is the caller's own, into another form.
func (k *kind) convert(o *jsontree.Object, to schema.GroupVersionKind) (map[string]any, error) {
	if k.converter == nil {
		trees, err := k.versions.convert(context.Background(), []*jsontree.Object{o}, to) // it has a timeout of its own
		if err != nil {
			return nil, err
		}
		return trees[0], nil
	}
	tree, err := k.converter.Convert(o.Tree, to)
	if err != nil {
		return nil, fmt.Errorf("convert to %s: %w", to, err)
	}
	return tree, nil
}

// convert brings objects into another version, all in one call. As upstream does it sets
// the defaults of the version an object is in, and drops what the other does not have.
func (v *versions) convert(ctx context.Context, objects []*jsontree.Object, to schema.GroupVersionKind) ([]map[string]any, error) {
	trees := make([]map[string]any, len(objects))
	for i, o := range objects {
		from := schema.FromAPIVersionAndKind(jsontree.String(o.Tree, "apiVersion"), to.Kind)
		if c := v.schemaOf(from); c != nil && c.HasDefaults() {
			c.Default(o.Tree)
		}
		trees[i] = withManagedFields(o)
	}
	converted, err := v.converter().Convert(ctx, trees, to)
	var refused *apierrors.StatusError
	if v.byPlugin && errors.As(err, &refused) {
		return nil, refused
	}
	if err != nil {
		// Neither the client's fault nor that of a rule: upstream gives no reason either.
		return nil, statusError(http.StatusInternalServerError, metav1.StatusReasonUnknown, err.Error())
	}
	c := v.schemaOf(to)
	for _, tree := range converted {
		if meta := jsontree.Map(tree, "metadata"); meta != nil {
			delete(meta, "managedFields") // they are kept apart
		}
		if c != nil {
			c.Prune(tree)
		}
	}
	return converted, nil
}

// schemaOf returns the schema of a version that is served, or nil.
func (v *versions) schemaOf(gvk schema.GroupVersionKind) *crdschema.Compiled {
	t, ok := v.server.cfg.Registry.LookupKind(gvk)
	if !ok {
		return nil
	}
	k, ok := v.server.lookup(t.GVR)
	if !ok {
		return nil
	}
	c, err := k.Compiled()
	if err != nil {
		return nil
	}
	return c
}

// withManagedFields returns an object as clients see it.
func withManagedFields(o *jsontree.Object) map[string]any {
	if len(o.ManagedFields) == 0 {
		return o.Tree
	}
	fields, err := jsontree.DecodeValue(o.ManagedFields)
	if err != nil {
		return o.Tree // they were encoded here; the webhook can do without
	}
	tree := maps.Clone(o.Tree)
	meta := maps.Clone(jsontree.Map(o.Tree, "metadata"))
	if meta == nil {
		meta = map[string]any{}
	}
	meta["managedFields"] = fields
	tree["metadata"] = meta
	return tree
}

// presentAll puts the objects of a type with a webhook into the version of k; those that
// have to be converted are so in one call.
func (k *kind) presentAll(ctx context.Context, objects []store.Object) error {
	if k.versions == nil {
		return nil
	}
	var at []int
	var decoded []*jsontree.Object
	for i := range objects {
		if storedAs(objects[i].Data, k.apiVersion) {
			data, err := k.present(objects[i].Data)
			if err != nil {
				return err
			}
			objects[i].Data = data
			continue
		}
		o, err := jsontree.Decode(objects[i].Data)
		if err != nil {
			return fmt.Errorf("decode a stored object: %w", err)
		}
		at, decoded = append(at, i), append(decoded, o)
	}
	if len(at) == 0 {
		return nil
	}
	trees, err := k.versions.convert(ctx, decoded, k.GVK)
	if err != nil {
		return err
	}
	for n, i := range at {
		objects[i].Data = encodeAs(trees[n], decoded[n].ManagedFields)
	}
	return nil
}

// presentListed is present for the objects of lists, which presentAll has been at.
func (k *kind) presentListed(data []byte) ([]byte, error) {
	if k.versions != nil {
		return data, nil
	}
	return k.present(data)
}
