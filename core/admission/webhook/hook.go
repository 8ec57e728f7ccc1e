package webhook

import (
	"context"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// The steps of admission, as metrics name them.
const (
	stepMutate   = "admit"
	stepValidate = "validating"
)

// hook is a compiled webhook. Both kinds have the same fields but for reinvocable.
type hook struct {
	*admissionregistrationv1.ValidatingWebhook
	configuration string
	step          string
	// reinvocable webhooks are called again when others have changed the object.
	reinvocable bool
	ignore      bool
	timeout     time.Duration
	// endpoint names the client in the table of clients.
	endpoint string

	criteria *match.Criteria
	// broken says why there are no criteria.
	broken     error
	conditions func() *cel.Conditions
}

func newHook(configuration, step string, w *admissionregistrationv1.ValidatingWebhook) *hook {
	h := &hook{ValidatingWebhook: w, configuration: configuration, step: step, endpoint: endpointOf(&w.ClientConfig)}
	h.ignore = w.FailurePolicy != nil && *w.FailurePolicy == admissionregistrationv1.Ignore
	if w.TimeoutSeconds != nil {
		h.timeout = time.Duration(*w.TimeoutSeconds) * time.Second
	}
	return h
}

// compile makes what a webhook is matched by. Conditions are compiled when the first request
// gets as far as them.
func (w *Webhooks) compile(h *hook) {
	policy := h.MatchPolicy
	if policy == nil {
		exact := admissionregistrationv1.Exact
		policy = &exact // stored ones have been defaulted
	}
	h.criteria, h.broken = match.Webhook(h.Rules, policy, h.NamespaceSelector, h.ObjectSelector)
	h.conditions = sync.OnceValue(func() *cel.Conditions {
		return cel.Plain().Conditions(h.MatchConditions, cel.Declared{HasAuthorizer: true}, cel.StoredExpressions)
	})
}

// asking is what webhooks share about one request.
type asking struct {
	*Webhooks
	request    *admission.Request
	authorizer authorizer.Authorizer
}

// wants reports whether a webhook is to be called for a request, and as what. Errors are
// *errors.StatusError and refuse the request.
func (a *asking) wants(ctx context.Context, h *hook) (match.Target, bool, error) {
	if h.broken != nil {
		return match.Target{}, false, apierrors.NewInternalError(h.broken)
	}
	r := a.request
	target, ok, err := h.criteria.Match(ctx, r, a.cfg.Equivalents)
	if !ok || err != nil {
		return match.Target{}, false, err //nolint:wrapcheck // it is a status
	}
	if len(h.MatchConditions) == 0 {
		return target, true, nil
	}
	if a.authorizer == nil {
		a.authorizer = cel.Authorizer(a.cfg.Authorizer)
	}
	in, err := cel.NewInput(r, target.Resource, target.Kind, a.authorizer)
	if err != nil {
		return match.Target{}, false, apierrors.NewInternalError(err)
	}
	start := time.Now()
	ok, _, err = h.conditions().Match(ctx, in)
	a.metrics.conditions(h, r, time.Since(start), ok, err)
	if err != nil {
		if h.ignore {
			return match.Target{}, false, nil
		}
		a.cfg.Logger.Warn("match conditions of a webhook failed and the request is refused", "webhook", h.Name, "error", err)
		return match.Target{}, false, apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, err)
	}
	return target, ok, nil
}
