package webhook

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/admission/internal/denial"
)

// callError says that a webhook could not be asked, or did not answer as it has to. What that
// means is up to the webhook's failure policy.
type callError struct {
	name   string
	reason error
	// code that metrics have.
	code int32
}

// Error implements error.
func (e *callError) Error() string {
	return fmt.Sprintf("failed calling webhook %q: %v", e.name, e.reason)
}

// Unwrap returns the reason.
func (e *callError) Unwrap() error { return e.reason }

// rejection says that a webhook has refused a request.
type rejection struct{ *apierrors.StatusError }

// Unwrap returns the status that is sent.
func (e *rejection) Unwrap() error { return e.StatusError }

// newRejection makes a status of what a webhook has said. Whatever it has said, it is a
// failure.
func newRejection(name string, result *metav1.Status) *rejection {
	status := metav1.Status{}
	if result != nil {
		status = *result
	}
	status.Code = max(status.Code, http.StatusBadRequest)
	if status.Status == "" || status.Status == metav1.StatusSuccess {
		status.Status = metav1.StatusFailure
	}
	status.Message = denial.Message(fmt.Sprintf("webhook %q", name), &status)
	return &rejection{&apierrors.StatusError{ErrStatus: status}}
}

func errTimeout() error {
	return apierrors.NewTimeoutError("request did not complete within requested timeout", 0)
}
