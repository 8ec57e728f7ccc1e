package apiserver

import (
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
func (q *request) readBody() ([]byte, error) {
	limit := q.server.cfg.Limits.BodyBytes
	size := q.r.ContentLength
	if size > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	r := http.MaxBytesReader(q.w, q.r.Body, limit)
	if size < 0 {
		b, err := io.ReadAll(r)
		return b, bodyError(err)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, bodyError(err)
	}
	return b, nil
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
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
	switch format {
	case media.YAML:
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return nil, undecodable(expect, err)
		}
	case media.Protobuf:
		if data, err = protobuf.GoTypes(q.server.cfg.GoTypes).Decode(data, expect); err != nil {
			return nil, undecodable(expect, err)
		}
	}
	q.auditBody(data)
	o, err := jsontree.DecodeShared(data)
	if err != nil {
		return nil, undecodable(expect, err)
	}
	return o, checkKind(o.Tree, expect)
}

func undecodable(expect schema.GroupVersionKind, err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: %v", expect.Kind, err))
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

func (q *request) strictness() (strictness, error) {
	switch v := q.query.Get("fieldValidation"); strictness(v) {
	case "", warn:
		return warn, nil
	case strict:
		return strict, nil
	case ignore:
		return ignore, nil
	default:
		return warn, invalidOption(q, "fieldValidation", v, string(ignore), string(warn), string(strict))
	}
}

func fieldNotSupported(name, value string, supported []string) field.ErrorList {
	return field.ErrorList{field.NotSupported(field.NewPath(name), value, supported)}
}

// checkFields deals with fields that are unknown or that occur twice, as the request's
// fieldValidation asks: it returns what is wrong where the client is to be refused.
func (q *request) checkFields(duplicates, unknown []string) (problem string, err error) {
	if len(duplicates)+len(unknown) == 0 {
		return "", nil
	}
	level, err := q.strictness()
	if err != nil || level == ignore {
		return "", err
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
