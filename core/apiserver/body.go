package apiserver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
)

// readBody reads a request's body, up to the limit.
func (q *request) readBody() ([]byte, error) { return q.readUpTo(q.server.cfg.Limits.BodyBytes) }

func (q *request) readUpTo(limit int64) ([]byte, error) {
	size := q.r.ContentLength
	if size > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	defer boundReads(q.ctx, q.w)()
	r := http.MaxBytesReader(q.w, q.r.Body, limit)
	if size < 0 {
		b, err := io.ReadAll(r)
		return b, q.bodyError(err)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, q.bodyError(err)
	}
	return b, nil
}

func (q *request) bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	if over := q.ctx.Err(); over != nil {
		return over
	}
	return apierrors.NewBadRequest("the body of the request could not be read: " + err.Error())
}

// decodeBody reads an object of a kind. The kind and version may be absent, and are then
// set.
func (q *request) decodeBody(expect schema.GroupVersionKind) (*jsontree.Object, error) {
	format, ok := media.Body(q.r.Header.Get("Content-Type"))
	if !ok || format == media.Protobuf && !protobuf.GoTypes(q.server.cfg.GoTypes).Offers(expect) {
		return nil, errMediaType(acceptedTypes(q.kind))
	}
	data, err := q.readBody()
	if err != nil {
		return nil, err
	}
	sent := data
	switch format {
	case media.YAML:
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return nil, undecodable(expect, err, sent)
		}
	case media.Protobuf:
		if data, err = protobuf.GoTypes(q.server.cfg.GoTypes).Decode(data, expect); err != nil {
			return nil, undecodable(expect, err, sent)
		}
	}
	q.auditBody(data)
	if q.kind.builtin && string(bytes.TrimSpace(data)) == "null" {
		data = []byte("{}")
	}
	o, err := jsontree.DecodeShared(data)
	if err != nil {
		return nil, undecodable(expect, jsonError(data, err), data)
	}
	if !q.kind.builtin && expect == q.kind.GVK {
		return o, checkCustomKind(o.Tree, expect)
	}
	if err := checkKind(o.Tree, expect); err != nil {
		return nil, q.otherKind(o.Tree, expect, err)
	}
	if meta := o.Tree["metadata"]; !isObject(meta) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: json: cannot unmarshal %s into Go struct field %s.metadata of type v1.ObjectMeta",
			expect.Kind, expect.Version, expect.Kind, typeName(meta), expect.Kind))
	}
	return o, nil
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok || v == nil
}

// typeName is what encoding/json calls a value that is no object.
func typeName(v any) string {
	switch v.(type) {
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}

// otherKind words, as upstream does, that a body is of another kind than is expected.
func (q *request) otherKind(tree map[string]any, expect schema.GroupVersionKind, err error) error {
	version, _ := tree["apiVersion"].(string)
	kind, _ := tree["kind"].(string)
	have := schema.FromAPIVersionAndKind(version, kind)
	if have.Version == "" {
		have.Group, have.Version = expect.Group, expect.Version
	}
	var problem string
	switch _, known := q.server.cfg.Registry.LookupKind(have); {
	case !known:
		problem = fmt.Sprintf("no kind %q is registered for version %q in scheme \"pkg/runtime/scheme.go:111\"", have.Kind, have.GroupVersion())
	case have.Kind != expect.Kind:
		group, _, _ := strings.Cut(expect.Group, ".")
		if group == "" {
			group = "core"
		}
		problem = fmt.Sprintf("converting (%s.%s) to (%s.%s): unknown conversion", have.Version, have.Kind, group, expect.Kind)
	default:
		return err
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %s", have.Kind, have.Version, expect.Kind, problem))
}

// undecodable refuses a body, with as much of it as tells what it is.
func undecodable(expect schema.GroupVersionKind, err error, body []byte) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", expect.Kind, err, summary(body)))
}

// summary is the start of a body.
func summary(body []byte) string {
	const limit = 30
	switch {
	case len(body) == 0:
		return "<empty>"
	case body[0] == '{' && len(body) > limit:
		return string(body[:limit]) + " ..."
	case body[0] == '{':
		return string(body)
	case len(body) > limit:
		return hex.EncodeToString(body[:limit]) + " ..."
	}
	return hex.EncodeToString(body)
}

// jsonError words what is wrong with JSON as upstream's decoder does.
func jsonError(data []byte, err error) error {
	return fmt.Errorf("couldn't get version/kind; json parse error: %w", plainJSONError(data, err))
}

// plainJSONError is what encoding/json says of JSON that is wrong, or err where it is content.
func plainJSONError(data []byte, err error) error {
	var o map[string]any
	if e := json.Unmarshal(data, &o); e != nil {
		return e //nolint:wrapcheck // it is for the client, in upstream's words
	}
	return err
}

// checkCustomKind is checkKind for a custom resource, in upstream's words for these.
func checkCustomKind(tree map[string]any, expect schema.GroupVersionKind) error {
	kind, _ := tree["kind"].(string)
	version, _ := tree["apiVersion"].(string)
	switch {
	case version != "" && version != expect.GroupVersion().String():
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", version, expect.GroupVersion()))
	case kind != "" && kind != expect.Kind:
		meta, _ := tree["metadata"].(map[string]any)
		name, _ := meta["name"].(string)
		return apierrors.NewInvalid(schema.GroupKind{Group: expect.Group, Kind: kind}, name, field.ErrorList{
			field.Invalid(field.NewPath("kind"), kind, "must be "+expect.Kind)})
	}
	tree["kind"], tree["apiVersion"] = expect.Kind, expect.GroupVersion().String()
	return nil
}

func checkKind(tree map[string]any, expect schema.GroupVersionKind) error {
	version := expect.GroupVersion().String()
	kind, kindOK := tree["kind"].(string)
	have, versionOK := tree["apiVersion"].(string)
	if !kindOK || kind == "" {
		tree["kind"] = expect.Kind
	} else if kind != expect.Kind {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: the kind in the data does not match the expected kind", kind, have, expect.Kind))
	}
	if !versionOK || have == "" {
		tree["apiVersion"] = version
	} else if have != version {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", have, version))
	}
	return nil
}

// strictness is the fieldValidation of a write.
type strictness string

const (
	strict strictness = metav1.FieldValidationStrict
	warn   strictness = metav1.FieldValidationWarn
	ignore strictness = metav1.FieldValidationIgnore
)

// strictness is what the request asks for; its options have been judged.
func (q *request) strictness() strictness {
	if v := strictness(q.query.Get("fieldValidation")); v != "" {
		return v
	}
	return warn
}

// checkFields deals with fields that are unknown or that occur twice, as the request's
// fieldValidation asks: it returns what is wrong where the client is to be refused.
func (q *request) checkFields(duplicates, unknown []string) (problem string, err error) {
	if len(duplicates)+len(unknown) == 0 {
		return "", nil
	}
	level := q.strictness()
	if level == ignore {
		return "", nil
	}
	texts := make([]string, 0, len(duplicates)+len(unknown))
	for _, d := range duplicates {
		texts = append(texts, fmt.Sprintf("duplicate field %q", d))
	}
	for _, u := range unknown {
		texts = append(texts, fmt.Sprintf("unknown field %q", u))
	}
	if q.kind.builtin {
		// Upstream decodes these strictly in one go, custom resources in two.
		slices.SortStableFunc(texts, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
	}
	if level == warn {
		q.warn(texts...)
		return "", nil
	}
	return "strict decoding error: " + strings.Join(texts, ", "), nil
}
