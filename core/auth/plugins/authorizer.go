package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/core/internal/place"
	"github.com/pintle-dev/pintle/sdk/authorization"
)

// AuthorizerConfig is the operator's word on an authorization plugin.
type AuthorizerConfig struct {
	Name string
	// Timeout of a call, DefaultTimeout where zero.
	Timeout time.Duration
	// AuthorizedTTL and UnauthorizedTTL are how long answers are remembered; 5 min and 30 s
	// where zero, not at all where negative.
	AuthorizedTTL, UnauthorizedTTL time.Duration
	// DenyOnFailure denies what the plugin could not be asked about. Else it has no opinion
	// then.
	DenyOnFailure bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authorizer asks a plugin what users may do. It is not asked about what the cluster's own parts
// do (nodes, plugins, the server), so that a plugin that denies everything or never answers can
// not keep the cluster from working.
type Authorizer struct {
	cfg     AuthorizerConfig
	place   place.Place[authorization.Authorizer]
	answers *cache.Cache[string, answer]
}

var _ auth.Authorizer = (*Authorizer)(nil)

type answer struct {
	decision authorization.Decision
	reason   string
}

// Bounds of what is remembered: who asks chooses what.
const (
	maxAnswers  = 4096
	maxKeyBytes = 10000
)

// NewAuthorizer returns an authorizer whose plugin is away.
func NewAuthorizer(cfg AuthorizerConfig) *Authorizer {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.AuthorizedTTL == 0 {
		cfg.AuthorizedTTL = 5 * time.Minute
	}
	if cfg.UnauthorizedTTL == 0 {
		cfg.UnauthorizedTTL = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Authorizer{cfg: cfg, answers: cache.New[string, answer](maxAnswers)}
}

// Attach lets a plugin be asked from now on. The channel is closed when the calls of the one
// before have ended.
func (p *Authorizer) Attach(impl authorization.Authorizer) (drained <-chan struct{}) {
	return p.place.Set(impl)
}

// Detach says that the plugin is away. The channel is closed when its calls have ended.
func (p *Authorizer) Detach() (drained <-chan struct{}) { return p.place.Leave() }

// Authorize implements auth.Authorizer.
func (p *Authorizer) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	if clusterPart(a.User.Name) {
		return false, "", nil
	}
	key, err := json.Marshal(a)
	if err != nil {
		return false, "", p.failed(err)
	}
	if known, ok := p.answers.Get(string(key), p.cfg.Now()); ok {
		return known.verdict()
	}
	got, err := p.ask(ctx, &a)
	if err != nil {
		return false, "", p.failed(err)
	}
	ttl := p.cfg.UnauthorizedTTL
	if got.decision == authorization.Allow {
		ttl = p.cfg.AuthorizedTTL
	}
	if ttl > 0 && len(key) <= maxKeyBytes {
		p.answers.Put(string(key), got, p.cfg.Now().Add(ttl))
	}
	return got.verdict()
}

func (p *Authorizer) ask(ctx context.Context, a *auth.Attributes) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	s, err := p.place.Take(ctx, patience)
	if err != nil {
		return answer{}, err
	}
	defer s.Done()
	decision, reason, err := s.Value.Authorize(ctx, authorization.Attributes{
		User: a.User, Verb: a.Verb, Group: a.Group, Version: a.Version, Resource: a.Resource, Subresource: a.Subresource,
		Namespace: a.Namespace, Name: a.Name, Path: a.Path, FieldSelector: a.FieldSelector, LabelSelector: a.LabelSelector,
	})
	return answer{decision, reason}, err
}

func (a answer) verdict() (bool, string, error) {
	switch a.decision {
	case authorization.Allow:
		return true, a.reason, nil
	case authorization.Deny:
		return false, a.reason, &auth.Denied{}
	default:
		return false, a.reason, nil
	}
}

// failed is an error as the failure policy has it.
func (p *Authorizer) failed(err error) error {
	err = fmt.Errorf("authorization plugin %q: %w", p.cfg.Name, err)
	if p.cfg.DenyOnFailure {
		return &auth.Denied{Err: err}
	}
	return err
}

// clusterPart reports whether a user is one of the cluster's own parts.
func clusterPart(name string) bool {
	for _, prefix := range []string{auth.NodeUserPrefix, "system:plugin:", "system:serviceaccount:kube-system:", "system:apiserver", "system:kube-", "pintle:"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
