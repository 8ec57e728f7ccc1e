package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/sdk/admission"
)

// call asks one webhook. Errors are a *callError where it could not be asked, a *rejection
// where it refuses, or a status. The answer may be there along with a rejection.
func (w *Webhooks) call(ctx context.Context, h *hook, r *admission.Request, q *question) (*answer, error) {
	if err := dryRunnable(h, r); err != nil {
		return nil, err
	}
	failed := func(code int32, format string, args ...any) error {
		return &callError{h.Name, fmt.Errorf(format, args...), code}
	}
	uid, ask, into, err := q.review(h, r)
	if err != nil {
		return nil, failed(http.StatusBadRequest, "could not create admission objects: %w", err)
	}
	client, err := w.clients.get(h)
	if err != nil {
		return nil, failed(http.StatusInternalServerError, "could not get REST client: %w", err)
	}
	if h.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.timeout)
		defer cancel()
	}
	post := client.Post().Body(ask)
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left > 0 {
			// In whole seconds, so that the webhook knows how long it has.
			post.Timeout((left + time.Second - 1).Truncate(time.Second))
		}
	}
	if err := post.Do(ctx).Into(into); err != nil {
		code := int32(http.StatusServiceUnavailable)
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			code = status.Status().Code
		}
		return nil, failed(code, "failed to call webhook: %w", err)
	}
	a, err := verify(uid, h.step == stepMutate, into)
	if err != nil {
		return nil, failed(http.StatusServiceUnavailable, "received invalid webhook response: %w", err)
	}
	if !a.allowed {
		return a, newRejection(h.Name, a.result)
	}
	return a, nil
}

// dryRunnable refuses to call a webhook on a dry run that may have effects.
func dryRunnable(h *hook, r *admission.Request) error {
	if !r.DryRun {
		return nil
	}
	if h.SideEffects == nil {
		return &callError{h.Name, errors.New("Webhook SideEffects is nil"), http.StatusBadRequest} //nolint:staticcheck // upstream's message
	}
	if *h.SideEffects != admissionregistrationv1.SideEffectClassNone && *h.SideEffects != admissionregistrationv1.SideEffectClassNoneOnDryRun {
		return apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", h.Name))
	}
	return nil
}

// tell passes on what a webhook says beside its verdict.
func (a *answer) tell(h *hook, r *admission.Request) {
	if a == nil {
		return
	}
	for k, v := range a.annotations {
		r.Annotate(h.Name+"/"+k, v)
	}
	r.Warnings = append(r.Warnings, a.warnings...)
}

// open reports whether an error is one that the webhook's failure policy lets pass.
func (w *Webhooks) open(h *hook, err error) bool {
	var call *callError
	if !errors.As(err, &call) || !h.ignore {
		return false
	}
	if !errors.Is(err, context.Canceled) {
		w.cfg.Logger.Warn("calling a webhook failed and is ignored, as its failure policy says", "error", err)
		w.metrics.failedOpen(h)
	}
	return true
}

// refusal is the error that a client gets.
func refusal(err error) error {
	var call *callError
	if errors.As(err, &call) {
		return apierrors.NewInternalError(call)
	}
	var refused *rejection
	if errors.As(err, &refused) {
		return refused.StatusError
	}
	return err
}
