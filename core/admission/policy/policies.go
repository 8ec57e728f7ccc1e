package policy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// Config is what [Policies] are made of.
type Config struct {
	// Registry has the types; required.
	Registry *registry.Registry
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

	state atomic.Pointer[state]
	ready chan struct{}

	mu sync.Mutex
	// indexed is what has been read of each bucket, under mu.
	indexed [bucketCount]*index
	// behind are closed where a bucket has events that have not been indexed yet.
	behind [bucketCount]<-chan struct{}
	// read says which kinds have been read; each is of the goroutine that follows it.
	read [bucketCount]bool
	// updated is closed when state has been replaced.
	updated chan struct{}
	// written has room for one signal: a ValidatingAdmissionPolicy has changed.
	written chan struct{}
}

// state is what is in force. It is immutable but for what policies compile when they are
// first needed.
type state struct {
	validating, mutating []*rule
	behind               [bucketCount]<-chan struct{}
	updated              <-chan struct{}
}

// rule is a policy with its bindings, of which it has at least one.
type rule struct {
	*policy
	bindings []*binding
}

// New returns policies that enforce nothing until Run has read the store.
func New(cfg Config) (*Policies, error) {
	if cfg.Registry == nil || cfg.Authorizer == nil {
		return nil, errors.New("admission policies: Config.Registry and Config.Authorizer are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	p := &Policies{
		registry: cfg.Registry, equivalents: match.NewRegistry(cfg.Registry), authorizer: cfg.Authorizer, metrics: m,
		log: cfg.Logger.With("component", "admissionpolicies"), ready: make(chan struct{}),
		updated: make(chan struct{}), written: make(chan struct{}, 1),
	}
	unread := make(chan struct{})
	close(unread)
	for b := range p.indexed {
		p.indexed[b] = &index{policies: map[string]*policy{}, bindings: map[string]*binding{}}
		p.behind[b] = unread
	}
	p.publish()
	return p, nil
}

// Ready is closed once all policies and bindings have been read.
func (p *Policies) Ready() <-chan struct{} { return p.ready }

const (
	// patience is how long a request waits for events of policies that it has found not to
	// be indexed yet. They are in memory; only a server that is overloaded takes longer,
	// and then what was in force before decides.
	patience = time.Second
	// startPatience is how long a request waits for the policies to be read at all.
	startPatience = 10 * time.Second
)

// current returns what is in force, once all that was stored before the call is in it.
func (p *Policies) current(ctx context.Context, r *admission.Request) (*state, error) {
	s := p.state.Load()
	if !s.isBehind() {
		return s, nil
	}
	select {
	case <-p.ready:
	default:
		start, cancel := context.WithTimeout(ctx, startPatience)
		defer cancel()
		select {
		case <-p.ready:
		case <-start.Done():
			status, err := refused(r, "not yet ready to handle request")
			if err != nil {
				return nil, err
			}
			return nil, status
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if s = p.state.Load(); !s.isBehind() {
			return s, nil
		}
		select {
		case <-s.updated:
		case <-ctx.Done():
			p.log.Warn("a request did not wait any longer for changed admission policies", "error", ctx.Err())
			return s, nil
		}
	}
}

// isBehind reports whether the store has events that are not in the state.
func (s *state) isBehind() bool {
	for _, b := range s.behind {
		select {
		case <-b:
			return true
		default:
		}
	}
	return false
}

// Validator returns the validating policies.
func (p *Policies) Validator() admission.Validator { return validator{p} }

// Mutator returns the mutating policies.
func (p *Policies) Mutator() admission.Mutator { return mutator{p} }

type validator struct{ *Policies }

// Idle implements admission.Idler.
func (v validator) Idle() bool {
	s := v.state.Load()
	return len(s.validating) == 0 && !s.isBehind()
}

type mutator struct{ *Policies }

// Idle implements admission.Idler.
func (m mutator) Idle() bool {
	s := m.state.Load()
	return len(s.mutating) == 0 && !s.isBehind()
}

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
