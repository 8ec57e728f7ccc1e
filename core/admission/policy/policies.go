package policy

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// Config is what [Policies] are made of.
type Config struct {
	// Registry has the types; required.
	Registry *registry.Registry
	// Equivalents are the resources that serve the same objects; required.
	Equivalents match.Equivalents
	// Authorizer answers what expressions ask through the variable authorizer, and
	// whether who writes a policy may read its parameters; required.
	Authorizer auth.Authorizer
	// Metrics receives the metrics of policies; nil shows none.
	Metrics prometheus.Registerer
	// Logger; nil discards.
	Logger *slog.Logger
}

// Policies are the admission policies of a cluster.
type Policies struct {
	registry    *registry.Registry
	equivalents match.Equivalents
	authorizer  auth.Authorizer
	metrics     *metrics
	log         *slog.Logger

	validating, mutating *family
	// written has room for one signal: a ValidatingAdmissionPolicy has changed.
	written chan struct{}
}

// New returns policies that wait for Run.
func New(cfg Config) (*Policies, error) {
	if cfg.Registry == nil || cfg.Equivalents == nil || cfg.Authorizer == nil {
		return nil, errors.New("admission policies: Registry, Equivalents and Authorizer are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	p := &Policies{
		registry: cfg.Registry, equivalents: cfg.Equivalents, authorizer: cfg.Authorizer, metrics: m,
		log: cfg.Logger.With("component", "admissionpolicies"), written: make(chan struct{}, 1),
	}
	p.validating = newFamily(validatingPolicies, validatingBindings, decodeValidating, decodeValidatingBinding, p.log)
	p.mutating = newFamily(mutatingPolicies, mutatingBindings, decodeMutating, decodeMutatingBinding, p.log)
	p.validating.changed = func() {
		select {
		case p.written <- struct{}{}:
		default:
		}
	}
	return p, nil
}

// Buckets are followed by Run. Who writes to them waits for them, so that a policy or
// binding is in force when its writer is answered.
func (p *Policies) Buckets() []*follow.Bucket {
	return slices.Concat(p.validating.buckets(), p.mutating.buckets())
}

// Run reads policies and bindings and follows their changes until ctx ends; it returns nil
// then, or when the store is closed. It is called once.
func (p *Policies) Run(ctx context.Context, log follow.Log) error {
	var g errgroup.Group
	for _, b := range p.Buckets() {
		g.Go(func() error { return b.Run(ctx, log) })
	}
	return g.Wait() //nolint:wrapcheck // it is nil
}

// Validator returns the validating policies.
func (p *Policies) Validator() admission.Validator { return validator{p} }

// Mutator returns the mutating policies.
func (p *Policies) Mutator() admission.Mutator { return mutator{p} }

type validator struct{ *Policies }

// Idle implements admission.Idler.
func (v validator) Idle() bool { return v.validating.idle() }

type mutator struct{ *Policies }

// Idle implements admission.Idler.
func (m mutator) Idle() bool { return m.mutating.idle() }

var (
	_ admission.Idler = validator{}
	_ admission.Idler = mutator{}
)

// exempt reports whether policies are not asked about a request: about policies themselves,
// as a bad one could not be repaired, and about questions of who may do what, without which
// nothing works.
func exempt(r *admission.Request) bool {
	switch r.Resource.GroupResource() {
	case schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: "validatingadmissionpolicies"},
		schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: "validatingadmissionpolicybindings"},
		schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: "mutatingadmissionpolicies"},
		schema.GroupResource{Group: admissionregistrationv1.GroupName, Resource: "mutatingadmissionpolicybindings"},
		schema.GroupResource{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"},
		schema.GroupResource{Group: "authentication.k8s.io", Resource: "tokenreviews"},
		schema.GroupResource{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"},
		schema.GroupResource{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"},
		schema.GroupResource{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"},
		schema.GroupResource{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}:
		return true
	}
	return false
}
