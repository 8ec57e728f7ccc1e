package plugins

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/admission/internal/denial"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/internal/place"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// callError says that a plugin could not be asked, or gave no answer that makes sense. What
// that means is up to its failure policy.
type callError struct {
	name string
	err  error
}

// Error implements error.
func (e *callError) Error() string {
	return fmt.Sprintf("failed calling admission plugin %q: %v", e.name, e.err)
}

// Unwrap returns the reason.
func (e *callError) Unwrap() error { return e.err }

// question is one request to one plugin.
type question struct {
	*Plugins
	member *member
	terms  *terms
	step   string
	target match.Target
}

// wanted are the plugins among members that a request is for.
func (p *Plugins) wanted(ctx context.Context, members *[]*member, step string, r *admission.Request) ([]question, error) {
	if members == nil || Exempt(r) {
		return nil, nil
	}
	var out []question
	for _, m := range *members {
		t := m.terms.Load()
		target, ok, err := t.wants(ctx, r, p.cfg.Equivalents)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, question{p, m, t, step, target})
		}
	}
	return out, nil
}

// ask calls the plugin. It returns nil where the plugin may be ignored, or is no longer there,
// with ignored set where that is noteworthy.
func (q *question) ask(ctx context.Context, r *admission.Request, call func(context.Context, life) error) (ignored bool, err error) {
	if r.DryRun && q.terms.Declaration.SideEffects == admission.SomeSideEffects {
		return false, apierrors.NewBadRequest(fmt.Sprintf("admission plugin %q does not support dry run", q.member.name))
	}
	fail := q.terms.Declaration.FailurePolicy == admission.Fail
	start := time.Now()
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, q.terms.Declaration.Timeout)
	defer cancel()
	wait := patience
	if !fail {
		wait = 0
	}
	s, err := q.member.place.Take(ctx, wait)
	switch {
	case errors.Is(err, place.ErrClosed):
		return false, nil
	case err != nil:
		err = &callError{q.member.name, err}
	default:
		defer s.Done()
		err = q.judge(ctx, call(ctx, s.Value))
	}
	q.metrics().called(q.member.name, q.step, time.Since(start), err)
	var failed *callError
	switch {
	case err == nil:
		return false, nil
	case outer.Err() != nil:
		return false, apierrors.NewTimeoutError("request did not complete within requested timeout", 0)
	case !errors.As(err, &failed):
		return false, err
	case fail:
		q.cfg.Logger.Warn("a request is refused as an admission plugin could not be asked", "plugin", q.member.name, "error", failed.err)
		return false, unavailable(failed)
	}
	q.cfg.Logger.Warn("calling an admission plugin failed and is ignored, as its failure policy says", "plugin", q.member.name, "error", failed.err)
	q.metrics().failedOpen(q.member.name, q.step)
	return true, nil
}

// judge sorts the error of a call: a refusal, or no answer at all.
func (q *question) judge(ctx context.Context, err error) error {
	var (
		status apierrors.APIStatus
		call   *callError
	)
	switch {
	case err == nil || errors.As(err, &call):
		return err
	case errors.Is(err, remote.ErrNoAnswer), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return &callError{q.member.name, err}
	case errors.As(err, &status):
		return refusal(q.member.name, status.Status())
	}
	return refusal(q.member.name, metav1.Status{
		Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: err.Error(),
	})
}

// refusal makes the error that a client gets of what a plugin says. Whatever that is, it is a
// failure.
func refusal(name string, status metav1.Status) error {
	if status.Code = max(status.Code, http.StatusBadRequest); status.Code > 599 {
		status.Code = http.StatusForbidden
	}
	status.Status = metav1.StatusFailure
	status.Message = denial.Message(fmt.Sprintf("plugin %q", name), &status)
	return &apierrors.StatusError{ErrStatus: status}
}

// unavailable is what a client gets that had better try again.
func unavailable(e *callError) error {
	err := apierrors.NewServiceUnavailable(e.Error() + "; try again")
	err.ErrStatus.Details = &metav1.StatusDetails{Group: "core.pintle.dev", Kind: "plugins", Name: e.name, RetryAfterSeconds: 1}
	return err
}

// AuditDomain ends the keys of plugins' audit annotations: NAME.AuditDomain/KEY.
const AuditDomain = "plugin.admission.pintle.dev"

// asked is the request as a plugin sees it: without what only exists beside the store, in the
// version that its rule names, with warnings and annotations of its own.
func (q *question) asked(r *admission.Request) (*admission.Request, error) {
	base := *r.Request
	base.Warnings, base.Memory = nil, nil
	base.Resource, base.Kind, base.Subresource = q.target.Resource, q.target.Kind, q.target.Subresource
	if q.target.Kind != r.Kind {
		for _, tree := range []*map[string]any{&base.Object, &base.Old} {
			if *tree == nil {
				continue
			}
			out, err := r.Convert(*tree, q.target.Kind)
			if err != nil {
				return nil, apierrors.NewInternalError(fmt.Errorf("convert for admission plugin %q: %w", q.member.name, err))
			}
			*tree = out
		}
	}
	name := q.member.name
	return &admission.Request{
		Request: &base, Options: r.Options, Round: r.Round,
		Annotate: func(key, value string) { r.Annotate(name+"."+AuditDomain+"/"+key, value) },
	}, nil
}

// maxWarningBytes bounds a warning, which becomes a header.
const maxWarningBytes = 1 << 10

// tell passes on what a plugin says beside its verdict.
func tell(r, asked *admission.Request) {
	for _, w := range asked.Warnings {
		if len(w) > maxWarningBytes {
			w = w[:maxWarningBytes] + "…"
		}
		r.Warnings = append(r.Warnings, w)
	}
}
