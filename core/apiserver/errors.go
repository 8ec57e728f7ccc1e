package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
)

func statusError(code int32, reason metav1.StatusReason, message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}}
}

// toStatus makes a Status of any error. Errors of the store get the codes by which
// clients know to try again.
func toStatus(err error) *metav1.Status {
	var st apierrors.APIStatus
	if errors.As(err, &st) {
		s := st.Status()
		s.Kind, s.APIVersion = "Status", "v1"
		return &s
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		err = apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", tooLarge.Limit))
	case errors.Is(err, store.ErrUnknownOutcome):
		// Whatever else it wraps, which is why the outcome is not known. Without a time to
		// wait: client libraries would send the write again by themselves, and it may have
		// been done.
		err = apierrors.NewTimeoutError("the outcome of the write is not known, look before you try again: "+err.Error(), 0)
	case errors.Is(err, store.ErrCompacted):
		err = apierrors.NewResourceExpired("The resourceVersion for the provided watch or list is too old.")
	case errors.Is(err, store.ErrNotLeader):
		err = unavailable("this server can't take the write now: " + err.Error())
	case errors.Is(err, store.ErrNoSpace):
		err = statusError(http.StatusInsufficientStorage, metav1.StatusReasonInternalError,
			"the server's disk is nearly full and writes are refused; free space or delete objects: "+err.Error())
	case errors.Is(err, store.ErrTooLarge):
		err = apierrors.NewRequestEntityTooLargeError(err.Error())
	case errors.Is(err, store.ErrSealed):
		err = statusError(http.StatusInternalServerError, metav1.StatusReasonStoreReadError, err.Error())
	case errors.Is(err, store.ErrClosed):
		err = unavailable("the server is shutting down")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		over := context.DeadlineExceeded
		if errors.Is(err, context.Canceled) {
			over = context.Canceled
		}
		err = apierrors.NewTimeoutError(fmt.Sprintf("request did not complete within requested timeout - %v", over), 0)
	default:
		err = apierrors.NewInternalError(err)
	}
	errors.As(err, &st)
	s := st.Status()
	s.Kind, s.APIVersion = "Status", "v1"
	return &s
}

// unavailable asks the client to send the request again in a second.
func unavailable(message string) error {
	e := apierrors.NewServiceUnavailable(message)
	e.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return e
}

// hookFailed is the answer where hooks could not judge an object, which says nothing
// about the object: the client may try again.
func (k *kind) hookFailed(e *field.Error) error {
	what := fmt.Sprintf("the checks of %s", k.gr)
	if source := k.Definition.Source; strings.HasPrefix(source, "plugin:") {
		what = fmt.Sprintf("plugin %q, which checks %s,", strings.TrimPrefix(source, "plugin:"), k.gr)
	}
	return unavailable(fmt.Sprintf("%s failed: %s", what, e.Detail))
}

// forbidden words a refusal as upstream does.
func forbidden(a auth.Attributes, reason string) error {
	if a.Resource == "" {
		msg := fmt.Sprintf("forbidden: User %q cannot %s path %q", a.User.Name, a.Verb, a.Path)
		return statusError(http.StatusForbidden, metav1.StatusReasonForbidden, withReason(msg, reason))
	}
	res := a.Resource
	if a.Subresource != "" {
		res += "/" + a.Subresource
	}
	msg := fmt.Sprintf("User %q cannot %s resource %q in API group %q", a.User.Name, a.Verb, res, a.Group)
	if a.Namespace != "" {
		msg += fmt.Sprintf(" in the namespace %q", a.Namespace)
	} else {
		msg += " at the cluster scope"
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name, errors.New(withReason(msg, reason)))
}

func withReason(msg, reason string) string {
	if reason == "" {
		return msg
	}
	return msg + ": " + reason
}

func errNoRoute() error {
	e := statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	e.ErrStatus.Details = &metav1.StatusDetails{}
	return e
}

// routeError is what upstream's router says of requests of its own kinds that no handler
// serves.
func routeError(code int32, reason metav1.StatusReason, message string) error {
	e := statusError(code, reason, message)
	e.ErrStatus.Details = &metav1.StatusDetails{}
	return e
}

// errMethod refuses a request's method.
func (q *request) errMethod() error {
	if q.kind.builtin {
		return routeError(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
			"the server does not allow this method on the requested resource")
	}
	verb := q.route.verb
	if verb == "options" {
		verb = ""
	}
	return apierrors.NewMethodNotSupported(q.kind.gr, verb)
}

// errNameless refuses a write of an object that the path does not name.
func (q *request) errNameless() error {
	if q.kind.builtin {
		return q.errMethod()
	}
	return apierrors.NewBadRequest("name must be provided")
}

// errNotAcceptable refuses what a request wants to have. Formats that upstream's router
// knows are refused by what encodes the answer.
func (q *request) errNotAcceptable(o media.Offer) error {
	types := acceptedTypes(q.kind)
	streams := []string{media.TypeJSON + ";stream=watch", media.TypeProtobuf + ";stream=watch"}
	if q.kind.builtin && !media.Known(q.r.Header.Get("Accept")) {
		if q.route.verb == "list" || q.route.verb == "watch" {
			types = append(types, streams...)
		}
		return routeError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
			"406: Not Acceptable\n\nAvailable representations: "+strings.Join(types, ", "))
	}
	if o.Stream {
		// What is wanted is judged as for a list first, and then how it is to come.
		o.Stream = false
		if _, ok := media.Negotiate(q.r.Header.Get("Accept"), o); ok {
			types = streams
		}
	}
	return errNotAcceptable(types)
}

// errPatchType refuses the type of a patch.
func errPatchType() error {
	return routeError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "415: Unsupported Media Type")
}

// errUnclassified is an error that upstream gives no reason to.
func errUnclassified(message string) error {
	return statusError(http.StatusInternalServerError, "", message)
}

func errNotAcceptable(types []string) error {
	return statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: "+strings.Join(types, ", "))
}

func errMediaType(types []string) error {
	return statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: "+strings.Join(types, ", "))
}

// errTooManyRequests refuses a request that the server has no place for now. It is answered as
// text, as upstream does before it looks at what a request wants.
var errTooManyRequests = apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
