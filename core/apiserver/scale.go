package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/mergetree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var scaleGVK = schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}

// scale serves the scale subresource: a view of an object's replicas.
func (q *request) scale() error {
	if err := q.negotiate(media.Offer{Protobuf: protobuf.GoTypes(q.server.cfg.GoTypes).Offers(scaleGVK)}); err != nil {
		return err
	}
	switch q.route.verb {
	case "get":
		live, err := q.load(q.route.name)
		if err != nil {
			return err
		}
		return q.respondScale(live.Data)
	case "update":
		body, err := q.decodeBody(scaleGVK)
		if err != nil {
			return err
		}
		if jsontree.String(body.Tree, "metadata", "name") == "" {
			return q.errNoName()
		}
		rv := jsontree.String(body.Tree, "metadata", "resourceVersion")
		return q.writeScale(rv == "", func(map[string]any) (map[string]any, error) { return body.Tree, nil }, nil)
	case "patch":
		if name, _, _ := strings.Cut(q.r.Header.Get("Content-Type"), ";"); types.PatchType(name) == types.ApplyPatchType {
			return q.applyScale()
		}
		patch, err := q.scalePatch()
		if err != nil {
			return err
		}
		return q.writeScale(true, patch, nil)
	}
	return q.errMethod()
}

func (q *request) scalePatch() (func(map[string]any) (map[string]any, error), error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	q.auditPatch(body)
	name, _, _ := strings.Cut(q.r.Header.Get("Content-Type"), ";")
	switch types.PatchType(name) {
	case types.MergePatchType, types.StrategicMergePatchType:
		// A Scale has no lists, so the two do the same.
		p, err := decodePatch(body)
		if err != nil {
			return nil, err
		}
		return func(s map[string]any) (map[string]any, error) { return mergetree.Merge(s, p.Tree), nil }, nil
	case types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
		return func(s map[string]any) (map[string]any, error) {
			out, err := applyJSONPatch(p, jsontree.Append(nil, s))
			if err != nil {
				return nil, unprocessable(err)
			}
			o, err := decodePatch(out)
			if err != nil {
				return nil, err
			}
			return o.Tree, nil
		}, nil
	}
	return nil, errMediaType([]string{string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyPatchType)})
}

// applyScale is server-side apply of a Scale: who applies owns the object's replicas.
func (q *request) applyScale() error {
	body, force, err := q.applyBody()
	if err != nil {
		return err
	}
	return q.writeScale(true, func(map[string]any) (map[string]any, error) {
		o, err := decodePatch(body)
		if err != nil {
			return nil, err
		}
		return o.Tree, checkKind(o.Tree, scaleGVK)
	}, func(c *change, scale map[string]any) error {
		config := map[string]any{"apiVersion": c.k.apiVersion, "kind": c.k.GVK.Kind, "metadata": map[string]any{"name": c.Name}}
		if n, ok := jsontree.Get(scale, "spec", "replicas").(int64); ok {
			setPath(config, c.k.Version.Scale.SpecReplicasPath, n)
		}
		return c.applyConfig(&jsontree.Object{Tree: config}, force)
	})
}

// writeScale sets the replicas that the Scale that wanted makes has, with set or, where that
// is nil, as they are.
func (q *request) writeScale(again bool, wanted func(map[string]any) (map[string]any, error), set func(c *change, scale map[string]any) error) error {
	var patch types.PatchType
	if q.route.verb == "patch" {
		name, _, _ := strings.Cut(q.r.Header.Get("Content-Type"), ";")
		patch = types.PatchType(name)
	}
	dryRun, err := q.writeOptions(patch)
	if err != nil {
		return err
	}
	data, err := q.retry(again, func(live store.Object) ([]byte, error) {
		c, err := q.newChange(resource.Update, dryRun)
		if err != nil {
			return nil, err
		}
		if err := c.setLive(live); err != nil {
			return nil, err
		}
		c.scaled = scaleOf(c.Old, q.kind.Version.Scale)
		scale, err := wanted(jsontree.CopyMap(c.scaled))
		if err != nil {
			return nil, err
		}
		meta := jsontree.Map(scale, "metadata")
		if name, _ := meta["name"].(string); name != "" && name != q.route.name {
			return nil, q.errOtherName(name)
		}
		if err := c.preconditions(meta); err != nil {
			return nil, err
		}
		if scale, err = c.mutateScale(q.ctx, scale); err != nil {
			return nil, err
		}
		replicas, err := replicasOf(scale, q.route.name)
		if err != nil {
			return nil, err
		}
		if set != nil {
			if err := set(c, scale); err != nil {
				return nil, err
			}
			return c.update(q.ctx, nil)
		}
		c.Object = jsontree.CopyMap(c.Old)
		setPath(c.Object, q.kind.Version.Scale.SpecReplicasPath, replicas)
		return c.update(q.ctx, nil)
	})
	if err != nil {
		return err
	}
	return q.respondScale(data)
}

// mutateScale lets admission change the Scale that a client wants. Only its replicas matter.
func (c *change) mutateScale(ctx context.Context, scale map[string]any) (map[string]any, error) {
	var r *admission.Request
	err := c.eachMutator(ctx, func() *admission.Request {
		meta, err := metaOf(scale)
		if err == nil {
			meta["name"], meta["namespace"] = c.Name, c.Namespace
		}
		if spec := jsontree.Map(scale, "spec"); spec["replicas"] == int64(0) {
			delete(spec, "replicas") // as a Scale has it
		}
		r = c.scaleRequest(scale)
		return r
	}, func() {}, func() error { return nil })
	if err != nil {
		return nil, err
	}
	if r != nil {
		scale = r.Object
	}
	return scale, nil
}

// scaleRequest is a write of a Scale as admission sees it.
func (c *change) scaleRequest(scale map[string]any) *admission.Request {
	r := c.admissionRequest()
	own := c.Request
	own.Kind, own.Object, own.Old, own.Warnings = scaleGVK, scale, c.scaled, nil
	r.Request, r.Managed, r.OldManaged = &own, nil, nil
	return r
}

func replicasOf(scale map[string]any, name string) (int64, error) {
	path := field.NewPath("spec", "replicas")
	invalid := func(e *field.Error) error {
		return apierrors.NewInvalid(scaleGVK.GroupKind(), name, field.ErrorList{e})
	}
	switch n := jsontree.Get(scale, "spec", "replicas").(type) {
	case nil:
		return 0, nil
	case int64:
		if n < 0 {
			return 0, invalid(field.Invalid(path, n, "must be greater than or equal to 0"))
		}
		return n, nil
	default:
		return 0, invalid(field.TypeInvalid(path, n, "must be an integer"))
	}
}

func (q *request) respondScale(data []byte) error {
	o, err := jsontree.DecodeShared(data)
	if err != nil {
		return fmt.Errorf("decode a stored object: %w", err)
	}
	return q.respondTree(http.StatusOK, scaleGVK, scaleOf(o.Tree, q.kind.Version.Scale))
}

// scaleOf makes the Scale of an object.
func scaleOf(tree map[string]any, s *crd.Scale) map[string]any {
	meta := map[string]any{}
	for _, f := range [...]string{"name", "namespace", "uid", "resourceVersion", "creationTimestamp"} {
		if v, ok := jsontree.Map(tree, "metadata")[f]; ok {
			meta[f] = v
		}
	}
	spec, status := map[string]any{}, map[string]any{"replicas": int64(0)}
	if n, ok := getPath(tree, s.SpecReplicasPath).(int64); ok && n != 0 {
		spec["replicas"] = n
	}
	if n, ok := getPath(tree, s.StatusReplicasPath).(int64); ok {
		status["replicas"] = n
	}
	if s.LabelSelectorPath != "" {
		if text, err := selectorText(getPath(tree, s.LabelSelectorPath)); err == nil && text != "" {
			status["selector"] = text
		}
	}
	return map[string]any{"kind": scaleGVK.Kind, "apiVersion": scaleGVK.GroupVersion().String(), "metadata": meta, "spec": spec, "status": status}
}

// selectorText writes a label selector as text, whatever form it has: text, a
// LabelSelector, or a plain map of labels.
func selectorText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case map[string]any:
		_, expressions := v["matchExpressions"]
		_, labels := v["matchLabels"]
		var s metav1.LabelSelector
		if expressions || labels {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(v, &s); err != nil {
				return "", fmt.Errorf("selector: %w", err)
			}
		} else {
			s.MatchLabels, _ = stringMap(v)
		}
		sel, err := metav1.LabelSelectorAsSelector(&s)
		if err != nil {
			return "", fmt.Errorf("selector: %w", err)
		}
		return sel.String(), nil
	}
	return "", errors.New("no selector")
}

func splitPath(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

func getPath(tree map[string]any, path string) any {
	if path == "" {
		return nil
	}
	return jsontree.Get(tree, splitPath(path)...)
}

func setPath(tree map[string]any, path string, v any) {
	parts := splitPath(path)
	for _, p := range parts[:len(parts)-1] {
		next, ok := tree[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[p] = next
		}
		tree = next
	}
	tree[parts[len(parts)-1]] = v
}
