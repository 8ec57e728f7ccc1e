package controlplane

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// addAdmission makes what requests are admitted by. The order is upstream's: what changes
// objects before what refuses them, policies before webhooks.
func (s *Server) addAdmission(cfg *apiserver.Config, reg *registry.Registry, metrics prometheus.Registerer) error {
	equivalents := match.NewRegistry(reg)
	var err error
	if s.policies, err = policy.New(policy.Config{
		Registry: reg, Equivalents: equivalents, Authorizer: s.access.authorizer, Metrics: metrics, Logger: s.log,
	}); err != nil {
		return fmt.Errorf("admission policies: %w", err)
	}
	if s.webhooks, err = webhook.New(webhook.Config{
		Services: backend.NewResolver(s.store), Equivalents: equivalents, Authorizer: s.access.authorizer,
		Metrics: metrics, Logger: s.log,
	}); err != nil {
		return fmt.Errorf("admission webhooks: %w", err)
	}
	for _, m := range []struct {
		name    string
		mutator admission.Mutator
	}{{config.MutatingPolicies, s.policies.Mutator()}, {config.MutatingWebhooks, s.webhooks.Mutator()}} {
		if !s.cfg.API.Admission.Disables(m.name) {
			cfg.Mutators = append(cfg.Mutators, m.mutator)
		}
	}
	for _, v := range []struct {
		name      string
		validator admission.Validator
	}{{config.ValidatingPolicies, s.policies.Validator()}, {config.ValidatingWebhooks, s.webhooks.Validator()}} {
		if !s.cfg.API.Admission.Disables(v.name) {
			cfg.Validators = append(cfg.Validators, v.validator)
		}
	}
	if s.plugins, err = plugins.New(plugins.Config{Equivalents: equivalents, Metrics: metrics, Logger: s.log}); err != nil {
		return err
	}
	// Plugins see what policies and webhooks have made, and these are asked again about what
	// plugins make.
	cfg.Mutators = append(cfg.Mutators, s.plugins.Mutator())
	cfg.Validators = append(cfg.Validators, s.plugins.Validator())
	cfg.Store = follow.Store{Store: s.store, Buckets: append(s.webhooks.Buckets(), s.policies.Buckets()...)}
	return nil
}

// checkAdmission validates the objects that configure admission.
func (s *Server) checkAdmission(ctx context.Context, r *resource.Request) field.ErrorList {
	return append(webhook.Check(ctx, r), s.policies.Check(ctx, r)...)
}
