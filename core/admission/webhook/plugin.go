package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// Config is what [New] makes webhooks of. Only Metrics and Logger may be left out.
type Config struct {
	// Services finds the servers of webhooks that are behind Services.
	Services *backend.Resolver
	// Equivalents are the resources that serve the same objects.
	Equivalents match.Equivalents
	// Authorizer is asked by match conditions.
	Authorizer auth.Authorizer
	Metrics    prometheus.Registerer
	Logger     *slog.Logger
}

// Webhooks are the webhooks that are configured.
type Webhooks struct {
	cfg     Config
	clients *clients
	metrics *metrics

	mutating, validating *configurations
}

// New returns webhooks that wait for Run.
func New(cfg Config) (*Webhooks, error) {
	if cfg.Services == nil || cfg.Equivalents == nil || cfg.Authorizer == nil {
		return nil, errors.New("webhook: Services, Equivalents and Authorizer are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	w := &Webhooks{cfg: cfg, clients: newClients(cfg.Services), metrics: m}
	w.mutating = w.configurations("mutatingwebhookconfigurations", decodeMutating)
	w.validating = w.configurations("validatingwebhookconfigurations", decodeValidating)
	return w, nil
}

// Mutator calls mutating webhooks.
func (w *Webhooks) Mutator() admission.Mutator { return mutator{w} }

// Validator calls validating webhooks.
func (w *Webhooks) Validator() admission.Validator { return validator{w} }

// Buckets are followed by Run. Who writes to them waits for them, so that a configuration is
// in force when its writer is answered.
func (w *Webhooks) Buckets() []*follow.Bucket {
	return []*follow.Bucket{w.mutating.bucket, w.validating.bucket}
}

// Run reads the configurations and follows their changes until ctx ends; it returns nil then,
// or when the store is closed. It is called once.
func (w *Webhooks) Run(ctx context.Context, log follow.Log) error {
	defer w.clients.keep(nil)
	var g errgroup.Group
	for _, b := range w.Buckets() {
		g.Go(func() error { return b.Run(ctx, log) })
	}
	return g.Wait() //nolint:wrapcheck // it is nil
}

// configurations are the webhooks of one kind of configuration.
type configurations struct {
	owner  *Webhooks
	bucket *follow.Bucket
	decode func(data []byte) ([]*hook, error)
	// byName are the webhooks of each configuration. Only the follower uses it.
	byName map[string][]*hook
	// hooks in the order in which they are called; nil until they have been read.
	hooks atomic.Pointer[[]*hook]
}

func (w *Webhooks) configurations(plural string, decode func([]byte) ([]*hook, error)) *configurations {
	c := &configurations{owner: w, decode: decode, byName: map[string][]*hook{}}
	c.bucket = follow.New(plural+"."+admissionregistrationv1.GroupName, c.take, w.cfg.Logger)
	return c
}

// take compiles the configurations that have changed.
func (c *configurations) take(changes []follow.Change) {
	for _, change := range changes {
		name := strings.TrimPrefix(change.Name, "/")
		delete(c.byName, name)
		if change.Data == nil {
			continue
		}
		hooks, err := c.decode(change.Data)
		if err != nil {
			c.owner.cfg.Logger.Error("a webhook configuration can't be read and is not in force", "name", name, "error", err)
			continue
		}
		for _, h := range hooks {
			c.owner.compile(h)
		}
		c.byName[name] = hooks
	}
	names := make([]string, 0, len(c.byName))
	for name := range c.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	all := []*hook{}
	for _, name := range names {
		all = append(all, c.byName[name]...)
	}
	c.hooks.Store(&all)
	c.owner.clients.keep(c.owner.inUse())
}

// inUse are the clients of all webhooks.
func (w *Webhooks) inUse() map[string]bool {
	used := map[string]bool{}
	for _, c := range [...]*configurations{w.mutating, w.validating} {
		if hooks := c.hooks.Load(); hooks != nil {
			for _, h := range *hooks {
				used[h.endpoint] = true
			}
		}
	}
	return used
}

// idle reports whether no webhook is configured.
func (c *configurations) idle() bool {
	hooks := c.hooks.Load()
	return hooks != nil && len(*hooks) == 0
}

// readyTimeout is how long a request waits for the configurations to be read.
const readyTimeout = 10 * time.Second

// current returns the webhooks that a request may be for.
func (c *configurations) current(ctx context.Context, r *admission.Request) ([]*hook, error) {
	if match.Exempt(r) {
		return nil, nil
	}
	hooks := c.hooks.Load()
	if hooks == nil {
		ctx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		select {
		case <-c.bucket.Ready():
			hooks = c.hooks.Load()
		case <-ctx.Done():
			return nil, apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, errors.New("not yet ready to handle request"))
		}
	}
	return *hooks, nil
}

func decodeMutating(data []byte) ([]*hook, error) {
	var o admissionregistrationv1.MutatingWebhookConfiguration
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	hooks := make([]*hook, len(o.Webhooks))
	for i := range o.Webhooks {
		m := &o.Webhooks[i]
		hooks[i] = newHook(o.Name, stepMutate, common(m))
		hooks[i].reinvocable = m.ReinvocationPolicy != nil && *m.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy
	}
	return hooks, nil
}

// common is what mutating webhooks have in common with validating ones.
func common(m *admissionregistrationv1.MutatingWebhook) *admissionregistrationv1.ValidatingWebhook {
	return &admissionregistrationv1.ValidatingWebhook{
		Name: m.Name, ClientConfig: m.ClientConfig, Rules: m.Rules, FailurePolicy: m.FailurePolicy, MatchPolicy: m.MatchPolicy,
		NamespaceSelector: m.NamespaceSelector, ObjectSelector: m.ObjectSelector, SideEffects: m.SideEffects,
		TimeoutSeconds: m.TimeoutSeconds, AdmissionReviewVersions: m.AdmissionReviewVersions, MatchConditions: m.MatchConditions,
	}
}

func decodeValidating(data []byte) ([]*hook, error) {
	var o admissionregistrationv1.ValidatingWebhookConfiguration
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	hooks := make([]*hook, len(o.Webhooks))
	for i := range o.Webhooks {
		hooks[i] = newHook(o.Name, stepValidate, &o.Webhooks[i])
	}
	return hooks, nil
}
