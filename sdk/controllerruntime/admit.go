package controllerruntime

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// admitter is the webhooks of a project as a plugin's admission.
type admitter struct{ *Plugin }

var (
	_ admission.Admission = admitter{}
	_ admission.Mutator   = admitter{}
	_ admission.Validator = admitter{}
	_ plugin.Plugin       = admitter{}
)

// Declare implements admission.Admission.
func (a admitter) Declare() admission.Declaration {
	m, err := a.managed()
	if err != nil {
		return admission.Declaration{} // without rules, which the host refuses
	}
	return m.hooks.declaration
}

// Mutate implements admission.Mutator.
func (a admitter) Mutate(ctx context.Context, r *admission.Request) (changed bool, err error) {
	m, err := a.ready(ctx)
	if err != nil {
		return false, err
	}
	for i := range m.hooks.mutators {
		object, err := m.hooks.mutators[i].ask(ctx, r)
		if err != nil {
			return false, err
		}
		if object != nil {
			r.Object, changed = object, true
		}
	}
	return changed, nil
}

// Validate implements admission.Validator.
func (a admitter) Validate(ctx context.Context, r *admission.Request) error {
	m, err := a.ready(ctx)
	if err != nil {
		return err
	}
	for i := range m.hooks.validators {
		if _, err := m.hooks.validators[i].ask(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// ready returns the manager when its webhooks can be asked.
func (a admitter) ready(ctx context.Context) (*managed, error) {
	m, err := a.managed()
	if err != nil {
		return nil, err
	}
	return m, m.ready(ctx)
}

// ask asks a webhook about a request that concerns it.
func (h *hook) ask(ctx context.Context, r *admission.Request) (changed map[string]any, err error) {
	ok, err := h.concerns(ctx, r.Request)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", h.name, err)
	}
	if !ok {
		return nil, nil
	}
	return h.call(ctx, r.Request, r.Options)
}
