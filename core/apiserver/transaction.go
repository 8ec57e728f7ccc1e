package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// A transaction is a request with many operations. Each goes the whole way of a single
// request, in their order, up to where that would write: there the write is staged. What is
// staged is seen by what later operations read. Then all is written at once.

// freeForAll reports whether a request is one that everybody who is somebody may make: each
// of a transaction's operations is authorized by itself.
func (rt *route) freeForAll(user resource.User) bool {
	if rt.gvr != corev1.Transactions || rt.verb != "create" || rt.subresource != "" {
		return false
	}
	for _, g := range user.Groups {
		if g == "system:unauthenticated" {
			return false
		}
	}
	return true
}

// transact does what the body says, or nothing.
func (q *request) transact() error {
	if err := q.negotiate(media.Offer{}); err != nil {
		return err
	}
	dryRun, err := q.writeOptions("")
	if err != nil {
		return err
	}
	ops, err := q.operations()
	if err != nil {
		return err
	}
	t := &transaction{outer: q, dryRun: dryRun, views: map[store.Key]*staged{}}
	q.server.transactions.Add(1)
	defer q.server.transactions.Add(-1)
	// Whatever happens, what takes part in the writes is told.
	defer t.abandon(q.ctx, errAbandoned)
	for i := range ops {
		t.ops = append(t.ops, &operation{tx: t, index: i, spec: &ops[i]})
	}
	if err = t.run(q.ctx); err != nil {
		t.auditRefused(err)
		return err
	}
	status, err := t.status()
	if err != nil {
		return err
	}
	data, err := json.Marshal(&corev1.Transaction{
		TypeMeta: metav1.TypeMeta{APIVersion: corev1.APIVersion, Kind: corev1.TransactionKind}, Status: status})
	if err != nil {
		return fmt.Errorf("encode a transaction: %w", err)
	}
	return q.respondAs(http.StatusCreated, q.kind.GVK, data, nil)
}

// operations reads the body.
func (q *request) operations() ([]corev1.Operation, error) {
	format, ok := media.Body(q.r.Header.Get("Content-Type"))
	if !ok || format == media.Protobuf {
		return nil, errMediaType(acceptedTypes(q.kind))
	}
	data, err := q.readUpTo(max(q.server.cfg.Limits.BodyBytes, corev1.MaxBytes))
	if err != nil {
		return nil, err
	}
	sent := data
	if format == media.YAML {
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return nil, undecodable(q.kind.GVK, err, sent)
		}
	}
	q.auditBody(data)
	var body corev1.Transaction
	// A field that is not known may be a guard that is misspelt: it is never let pass.
	if err := decodeStrictly(data, &body); err != nil {
		return nil, undecodable(q.kind.GVK, err, sent)
	}
	if body.Kind != "" && body.Kind != corev1.TransactionKind || body.APIVersion != "" && body.APIVersion != corev1.APIVersion {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is a %s of %s; a %s of %s is expected",
			body.Kind, body.APIVersion, corev1.TransactionKind, corev1.APIVersion))
	}
	if errs := checkOperations(body.Operations); len(errs) > 0 {
		return nil, apierrors.NewInvalid(q.kind.GVK.GroupKind(), "", errs)
	}
	return body.Operations, nil
}

// decodeStrictly refuses fields that are not known.
func decodeStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err //nolint:wrapcheck // the caller words it
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the object")
	}
	return nil
}

func checkOperations(ops []corev1.Operation) field.ErrorList {
	path := field.NewPath("operations")
	switch {
	case len(ops) == 0:
		return field.ErrorList{field.Required(path, "")}
	case len(ops) > corev1.MaxOperations:
		return field.ErrorList{field.TooMany(path, len(ops), corev1.MaxOperations)}
	}
	var errs field.ErrorList
	for i := range ops {
		errs = append(errs, checkOperation(&ops[i], path.Index(i))...)
	}
	return errs
}

// checkOperation judges the form of an operation.
func checkOperation(o *corev1.Operation, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if o.Subresource != "" && (o.Subresource != "status" || o.Verb == corev1.Create || o.Verb == corev1.Delete) {
		errs = append(errs, field.NotSupported(path.Child("subresource"), o.Subresource, []string{"status"}))
	}
	body := len(o.Object) > 0
	switch o.Verb {
	case corev1.Create, corev1.Update:
		if !body {
			errs = append(errs, field.Required(path.Child("object"), ""))
		}
		if len(o.Patch) > 0 {
			errs = append(errs, field.Forbidden(path.Child("patch"), "is for the verb patch"))
		}
		if o.Verb == corev1.Create && o.Preconditions != nil {
			errs = append(errs, field.Forbidden(path.Child("preconditions"), "an object to be created does not exist"))
		}
	case corev1.Patch:
		if o.PatchType == "" {
			errs = append(errs, field.Required(path.Child("patchType"), ""))
		}
		if body == (len(o.Patch) > 0) {
			errs = append(errs, field.Required(path.Child("patch"), "exactly one of patch and, for server-side apply, object"))
		}
	case corev1.Delete:
		if body || len(o.Patch) > 0 {
			errs = append(errs, field.Forbidden(path.Child("object"), "a deletion has none"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("verb"), o.Verb, []string{corev1.Create, corev1.Update, corev1.Patch, corev1.Delete}))
	}
	return errs
}

// status tells what was done.
func (t *transaction) status() (*corev1.TransactionStatus, error) {
	st := &corev1.TransactionStatus{Results: make([]corev1.Result, len(t.ops))}
	var newest uint64
	for i, o := range t.ops {
		w := o.main
		data, err := o.q.kind.present(w.result.Data)
		if err != nil {
			return nil, err
		}
		newest = max(newest, w.result.Revision)
		st.Results[i] = corev1.Result{Outcome: w.outcome(), Object: data, Warnings: o.q.warnings}
		t.outer.warn(o.q.warnings...)
		o.auditDone(data)
	}
	if !t.dryRun {
		st.ResourceVersion = strconv.FormatUint(newest, 10)
	}
	return st, nil
}

// refusal is the error of a transaction of which operations were refused: that of the first
// one, with all as causes.
func (t *transaction) refusal() error {
	var first *metav1.Status
	more := 0
	details := &metav1.StatusDetails{Group: corev1.Group, Kind: corev1.Transactions.Resource}
	for _, o := range t.ops {
		if o.err == nil {
			continue
		}
		st := toStatus(o.err)
		at := fmt.Sprintf("operations[%d]", o.index)
		if first == nil {
			copied := *st
			first = &copied
			first.Message = fmt.Sprintf("nothing was done: %s (%s): %s", at, o.describe(), st.Message)
		} else {
			more++
		}
		details.Causes = append(details.Causes, metav1.StatusCause{Type: metav1.CauseType(st.Reason), Message: st.Message, Field: at})
		if st.Details == nil {
			continue
		}
		details.RetryAfterSeconds = max(details.RetryAfterSeconds, st.Details.RetryAfterSeconds)
		for _, c := range st.Details.Causes {
			if c.Field != "" {
				c.Field = at + ".object." + c.Field
			} else {
				c.Field = at
			}
			details.Causes = append(details.Causes, c)
		}
	}
	if first == nil {
		return nil
	}
	if more > 0 {
		first.Message += fmt.Sprintf("; and %d more of %d operations were refused", more, len(t.ops))
	}
	first.Details = details
	first.ListMeta = metav1.ListMeta{}
	return &apierrors.StatusError{ErrStatus: *first}
}

// errAbandoned ends what has begun of a transaction that is not written.
var errAbandoned = errors.New("the transaction was not done")

// abandon tells what takes part in staged writes that these were not done.
func (t *transaction) abandon(ctx context.Context, err error) {
	for _, o := range t.ops {
		o.reset(ctx, err)
	}
}
