package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pintle-dev/pintle/sdk/admission"
)

type validator struct{ *Plugins }

var (
	_ admission.Validator = validator{}
	_ admission.Idler     = validator{}
)

// Idle implements admission.Idler.
func (v validator) Idle() bool { return v.validators.Load() == nil }

// verdict is what one plugin says.
type verdict struct {
	asked   *admission.Request
	notes   [][2]string
	ignored bool
	err     error
}

// Validate implements admission.Validator. All plugins are asked at once; the first that
// refuses, by name, is whom the client hears of.
func (v validator) Validate(ctx context.Context, r *admission.Request) error {
	questions, err := v.wanted(ctx, v.validators.Load(), stepValidate, r)
	if err != nil || len(questions) == 0 {
		return err
	}
	verdicts := make([]verdict, len(questions))
	var running sync.WaitGroup
	for i := 1; i < len(questions); i++ {
		running.Go(func() { verdicts[i] = questions[i].validate(ctx, r) })
	}
	verdicts[0] = questions[0].validate(ctx, r)
	running.Wait()
	for i := range verdicts {
		one := &verdicts[i]
		if one.asked != nil {
			tell(r, one.asked)
		}
		for _, n := range one.notes {
			r.Annotate(n[0], n[1])
		}
		if one.ignored {
			r.Annotate(fmt.Sprintf("failed-open.validating.%s/round_0_index_%d", AuditDomain, i), questions[i].member.name)
		}
	}
	for i := range verdicts {
		if err := verdicts[i].err; err != nil {
			return err
		}
	}
	return nil
}

// validate asks one plugin, and changes nothing of the request, which others read.
func (q *question) validate(ctx context.Context, r *admission.Request) (out verdict) {
	quiet := *r
	quiet.Annotate = func(key, value string) { out.notes = append(out.notes, [2]string{key, value}) }
	out.ignored, out.err = q.ask(ctx, r, func(ctx context.Context, l life) error {
		if l.validator == nil {
			return &callError{q.member.name, errors.New("it no longer validates")}
		}
		asked, err := q.asked(&quiet)
		if err != nil {
			return err
		}
		out.asked = asked
		return l.validator.Validate(ctx, asked)
	})
	return out
}
