package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

type validator struct{ *Webhooks }

var (
	_ admission.Validator = validator{}
	_ admission.Idler     = validator{}
)

// Idle implements admission.Idler.
func (v validator) Idle() bool { return v.validating.idle() }

// invocation is a webhook that is called, and what came of it.
type invocation struct {
	hook     *hook
	question *question
	answer   *answer
	err      error
}

// Validate implements admission.Validator. All webhooks are called at once.
func (v validator) Validate(ctx context.Context, r *admission.Request) error {
	hooks, err := v.validating.current(ctx, r)
	if err != nil || len(hooks) == 0 {
		return err
	}
	a := &asking{Webhooks: v.Webhooks, request: r}
	var calls []*invocation
	questions := map[schema.GroupVersionKind]*question{}
	for _, h := range hooks {
		target, ok, err := a.wants(ctx, h)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		q, err := share(questions, r, target)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		calls = append(calls, &invocation{hook: h, question: q})
	}
	if len(calls) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return errTimeout()
	}
	var running sync.WaitGroup
	for _, one := range calls[1:] {
		running.Go(func() { v.invoke(ctx, one, r) })
	}
	v.invoke(ctx, calls[0], r)
	running.Wait()
	var refused error
	for i, one := range calls {
		one.answer.tell(one.hook, r)
		switch {
		case one.err == nil:
		case v.open(one.hook, one.err):
			r.Annotate(fmt.Sprintf("failed-open.validating.webhook.admission.k8s.io/round_0_index_%d", i), one.hook.Name)
		case refused == nil:
			v.cfg.Logger.Debug("refused by a webhook", "webhook", one.hook.Name, "error", one.err)
			refused = refusal(one.err)
		}
	}
	return refused
}

// share makes one question for all webhooks that ask for the same version.
func share(known map[schema.GroupVersionKind]*question, r *admission.Request, target match.Target) (*question, error) {
	base, ok := known[target.Kind]
	if !ok {
		var err error
		if base, err = ask(r, target); err != nil {
			return nil, err
		}
		known[target.Kind] = base
	}
	q := *base
	q.target = target
	return &q, nil
}

func (v validator) invoke(ctx context.Context, one *invocation, r *admission.Request) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			one.err = apierrors.NewInternalError(fmt.Errorf("ValidatingAdmissionWebhook/%v has panicked: %v", one.hook.Name, p))
		}
		v.metrics.called(one.hook, r, time.Since(start), one.err)
	}()
	one.answer, one.err = v.call(ctx, one.hook, r, one.question)
}
