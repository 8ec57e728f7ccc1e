package apiserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/mergetree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// patcher makes the object that a patch wants of the stored one. It may be called again
// with another object.
type patcher func(c *change) (duplicates []string, err error)

// patch changes an object by a patch.
func (q *request) patch() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	kind, err := q.patchType()
	if err != nil {
		return err
	}
	dryRun, err := q.writeOptions(kind)
	if err != nil {
		return err
	}
	if kind == types.ApplyPatchType {
		return q.apply(dryRun)
	}
	body, err := q.readBody()
	if err != nil {
		return err
	}
	q.auditPatch(body)
	p, err := q.newPatcher(kind, body)
	if err != nil {
		return err
	}
	data, err := q.retry(true, func(live store.Object) ([]byte, error) { return q.patched(p, live, dryRun) })
	if err != nil {
		return err
	}
	return q.respondObject(http.StatusOK, data)
}

func (q *request) patched(p patcher, live store.Object, dryRun bool) ([]byte, error) {
	c, err := q.newChange(resource.Update, dryRun)
	if err != nil {
		return nil, err
	}
	if err := c.setLive(live); err != nil {
		return nil, err
	}
	duplicates, err := p(c)
	if err != nil {
		return nil, err
	}
	if uid := uidOf(c.Object); uid != "" && uid != uidOf(c.Old) {
		// Not a precondition, as it is in an update.
		return nil, c.invalid(field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), uid, "field is immutable")})
	}
	if v, _ := c.Object["apiVersion"].(string); v != c.k.apiVersion || c.Object["kind"] != c.k.GVK.Kind {
		return nil, c.badPatch(fmt.Sprintf("a patch may not change apiVersion or kind of a %s", c.k.GVK.Kind))
	}
	return c.update(q.ctx, duplicates)
}

func (q *request) patchType() (types.PatchType, error) {
	text := q.r.Header.Get("Content-Type")
	name, _, err := mime.ParseMediaType(text)
	if err != nil {
		name = text
	}
	accepted := []string{string(types.JSONPatchType), string(types.MergePatchType)}
	if q.kind.builtin {
		accepted = append(accepted, string(types.StrategicMergePatchType))
	}
	accepted = append(accepted, string(types.ApplyYAMLPatchType))
	for _, a := range accepted {
		if name == a {
			return types.PatchType(name), nil
		}
	}
	if q.kind.builtin {
		return "", errPatchType()
	}
	return "", errMediaType(accepted)
}

// newPatcher checks a patch and returns what applies it.
func (q *request) newPatcher(kind types.PatchType, body []byte) (patcher, error) {
	switch kind {
	case types.JSONPatchType:
		return jsonPatcher(body)
	case types.MergePatchType:
		p, err := decodePatch(body)
		if err != nil {
			return nil, err
		}
		return func(c *change) ([]string, error) {
			c.Object = mergetree.Merge(c.Old, p.Tree)
			c.sent = p.ManagedFields
			c.patch = func() string {
				out, _ := json.Marshal(mergetree.Merge(c.Old, p.Tree)) // trees of JSON
				return string(out)
			}
			return p.Duplicates, nil
		}, nil
	}
	if _, err := jsontree.DecodeShared(body); err != nil {
		return nil, apierrors.NewBadRequest(plainJSONError(body, err).Error())
	}
	return func(c *change) ([]string, error) { return strategicPatch(c, body) }, nil
}

func decodePatch(body []byte) (*jsontree.Object, error) {
	p, err := jsontree.DecodeShared(body)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", plainJSONError(body, err)))
	}
	return p, nil
}

// maxPatchOperations bounds a JSON patch, as upstream does.
const maxPatchOperations = 10000

func jsonPatcher(body []byte) (patcher, error) {
	p, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	if len(p) > maxPatchOperations {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(p)))
	}
	return func(c *change) ([]string, error) {
		data, err := c.k.present(c.live.Data)
		if err != nil {
			return nil, err
		}
		out, err := applyJSONPatch(p, data)
		if err != nil {
			return nil, unprocessable(err)
		}
		c.patch = func() string { return string(out) }
		o, err := jsontree.DecodeShared(out)
		if err != nil {
			return nil, c.badPatch(jsonError(out, err).Error())
		}
		c.Object, c.sent = o.Tree, o.ManagedFields
		return nil, nil
	}, nil
}

// applyJSONPatch guards against operations that the library does not expect.
func applyJSONPatch(p jsonpatch.Patch, data []byte) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the patch can't be applied: %v", r)
		}
	}()
	return p.Apply(data)
}

func strategicPatch(c *change, body []byte) ([]string, error) {
	// The library changes both trees, so each try has its own.
	p, err := decodePatch(body)
	if err != nil {
		return nil, err
	}
	original, err := c.k.decodeStored(c.live.Data)
	if err != nil {
		return nil, err
	}
	out, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(original.Tree, p.Tree, c.compiled.PatchMeta())
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return nil, apierrors.NewBadRequest(err.Error())
	case err != nil:
		return nil, errUnclassified(err.Error())
	}
	c.Object, c.sent = out, p.ManagedFields
	c.patch = func() string {
		p, _ := decodePatch(body) // as before
		return fmt.Sprintf("%+v", p.Tree)
	}
	return p.Duplicates, nil
}

// unprocessable is the answer to a patch that does not fit the object; the message is
// upstream's for all of them, and what is wrong is the cause.
func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", runtimeschema.GroupResource{}, "", err.Error(), 0, false)
}

// badPatch is the answer to a patch that makes an object which is none of its type.
func (c *change) badPatch(text string) error {
	return apierrors.NewInvalid(runtimeschema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), c.patch(), text)})
}

// applyBody reads what is applied, as JSON.
func (q *request) applyBody() (body []byte, force bool, err error) {
	if body, err = q.readBody(); err != nil {
		return nil, false, err
	}
	q.auditPatch(body)
	force = queryTrue(q.query, "force")
	if json.Valid(body) {
		return body, force, nil
	}
	converted, err := yaml.YAMLToJSON(body)
	if err != nil {
		return nil, false, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: error converting YAML to JSON: %v", err))
	}
	level := q.strictness()
	if level != ignore {
		// The conversion drops keys that are there twice.
		if err := yaml.UnmarshalStrict(body, &map[string]any{}); err != nil && level == strict {
			return nil, false, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding YAML: %v", err))
		} else if err != nil {
			q.warn(err.Error())
		}
	}
	return converted, force, nil
}

// apply is server-side apply.
func (q *request) apply(dryRun bool) error {
	body, force, err := q.applyBody()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		code := http.StatusOK
		live, err := q.load(q.route.name)
		var data []byte
		switch {
		case apierrors.IsNotFound(err):
			code = http.StatusCreated
			data, err = q.applyNew(body, dryRun, force)
			if apierrors.IsAlreadyExists(err) && try < maxConflicts {
				continue
			}
		case err == nil:
			data, err = q.applyTo(live, body, dryRun, force)
			if errors.Is(err, store.ErrConflict) {
				if try < maxConflicts && q.ctx.Err() == nil {
					q.warnings = nil
					continue
				}
				err = apierrors.NewConflict(q.kind.gr, q.route.name, errModified)
			}
		}
		if err != nil {
			return err
		}
		return q.respondObject(code, data)
	}
}

// config decodes what is applied. It is decoded for every try, as it is changed.
func (q *request) config(body []byte) (*jsontree.Object, error) {
	if string(bytes.TrimSpace(body)) == "null" {
		body = []byte("{}") // an empty document
	}
	o, err := decodePatch(body)
	if err != nil {
		return nil, err
	}
	if err := checkApplied(o.Tree, q.kind.GVK); err != nil {
		return nil, err
	}
	meta, err := metaOf(o.Tree)
	if err != nil {
		return nil, err
	}
	if len(o.ManagedFields) > 0 {
		return nil, apierrors.NewBadRequest("metadata.managedFields must be nil")
	}
	if name, _ := meta["name"].(string); name != "" && name != q.route.name {
		return nil, q.errOtherName(name)
	}
	return o, nil
}

func (q *request) applyNew(body []byte, dryRun, force bool) ([]byte, error) {
	if q.route.subresource != "" {
		return nil, apierrors.NewNotFound(q.kind.gr, q.route.name)
	}
	if uid := jsonUID(body); uid != "" {
		return nil, apierrors.NewConflict(q.kind.gr, q.route.name, fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	if err := q.authorizeCreate(); err != nil {
		return nil, err
	}
	c, err := q.newChange(resource.Create, dryRun)
	if err != nil {
		return nil, err
	}
	o, err := q.config(body)
	if err != nil {
		return nil, err
	}
	named := jsontree.String(o.Tree, "metadata", "name") != ""
	if err := c.applyConfig(o, force); err != nil {
		return nil, err
	}
	if !named {
		return nil, q.errNoName()
	}
	return c.create(q.ctx, o.Duplicates)
}

func (q *request) applyTo(live store.Object, body []byte, dryRun, force bool) ([]byte, error) {
	c, err := q.newChange(resource.Update, dryRun)
	if err != nil {
		return nil, err
	}
	if err := c.setLive(live); err != nil {
		return nil, err
	}
	o, err := q.config(body)
	if err != nil {
		return nil, err
	}
	if uid := uidOf(o.Tree); uid != "" && uid != uidOf(c.Old) {
		c.Object = c.Old
		return nil, c.invalid(field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), uid, "field is immutable")})
	}
	if err := c.preconditions(jsontree.Map(o.Tree, "metadata")); err != nil {
		return nil, err
	}
	if err := c.applyConfig(o, force); err != nil {
		return nil, err
	}
	return c.update(q.ctx, o.Duplicates)
}

// applyConfig makes the object of the live one and the configuration, with its
// managedFields.
func (c *change) applyConfig(o *jsontree.Object, force bool) error {
	t, err := c.k.tracker()
	if err != nil {
		return err
	}
	// What upstream's decoding does to the configuration comes before the merge, but for
	// defaults, which nobody may own by applying.
	config := o.Tree
	if unknown, err := c.compiled.Normalize(config); err != nil {
		var mistyped *schema.DecodeError
		if errors.As(err, &mistyped) {
			return c.untyped(config, "."+mistyped.Path+": "+mistyped.Message)
		}
		return fmt.Errorf("decode %s: %w", c.Kind, err)
	} else if len(unknown) > 0 {
		return c.undeclared(config, unknown)
	}
	tree, managed, err := t.Apply(c.Kind, c.Old, c.liveManaged, config, c.writer, force)
	if err != nil {
		var st apierrors.APIStatus
		if errors.As(err, &st) {
			return err
		}
		return errUnclassified(strings.TrimSpace(err.Error()))
	}
	c.Object, c.managed, c.applied = tree, managed, true
	return nil
}

// undeclared refuses to apply fields that the schema does not have: nobody could own them,
// whatever the request's fieldValidation is.
func (c *change) undeclared(config map[string]any, unknown []string) error {
	texts := make([]string, len(unknown))
	for i, u := range unknown {
		texts[i] = "." + u + ": field not declared in schema"
	}
	text := texts[0]
	if len(texts) > 1 {
		text = "errors:\n  " + strings.Join(texts, "\n  ")
	}
	return c.untyped(config, text)
}

// untyped refuses to apply what has not the shape of the type.
func (c *change) untyped(config map[string]any, text string) error {
	return errUnclassified(fmt.Sprintf("failed to create typed patch object (%s/%s; %s): %s",
		jsontree.String(config, "metadata", "namespace"), jsontree.String(config, "metadata", "name"), c.Kind, text))
}

// checkApplied requires the kind of what is applied to be said, and to be the right one.
func checkApplied(tree map[string]any, expect runtimeschema.GroupVersionKind) error {
	version, _ := tree["apiVersion"].(string)
	kind, _ := tree["kind"].(string)
	if have := runtimeschema.FromAPIVersionAndKind(version, kind); have != expect {
		return apierrors.NewBadRequest("invalid object type: " + have.String())
	}
	return nil
}

func jsonUID(body []byte) string {
	var o struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(body, &o) // what is not valid is refused when it is decoded
	return o.Metadata.UID
}
