package plugins

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// Config is what [New] makes plugins of. Metrics and Logger may be left out.
type Config struct {
	// Equivalents are the resources that serve the same objects.
	Equivalents match.Equivalents
	Metrics     prometheus.Registerer
	Logger      *slog.Logger
}

// Profile is what is known of a plugin whether it is there or not.
type Profile struct {
	// Declaration as the operator has it: completed, and with what the operator overrides.
	Declaration admission.Declaration `json:"declaration"`
	// Mutates and Validates say in which steps the plugin takes part.
	Mutates   bool `json:"mutates,omitempty"`
	Validates bool `json:"validates,omitempty"`
	// ExemptNamespaces are not asked about, beside those that never are.
	ExemptNamespaces []string `json:"exemptNamespaces,omitempty"`
}

// Plugins are the admission plugins of a server.
type Plugins struct {
	cfg     Config
	metrics func() *metrics

	mu      sync.Mutex
	members map[string]*member
	// mutators and validators by name; nil where there are none, which is what each
	// request looks at.
	mutators, validators atomic.Pointer[[]*member]
}

// New returns plugins of which there are none yet.
func New(cfg Config) (*Plugins, error) {
	if cfg.Equivalents == nil {
		return nil, errors.New("admission plugins: Equivalents are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Plugins{cfg: cfg, members: map[string]*member{}}
	p.metrics = sync.OnceValue(func() *metrics { return newMetrics(cfg.Metrics, cfg.Logger) })
	return p, nil
}

// Mutator asks the plugins that change objects.
func (p *Plugins) Mutator() admission.Mutator { return mutator{p} }

// Validator asks the plugins that refuse requests.
func (p *Plugins) Validator() admission.Validator { return validator{p} }

// Expect makes a plugin known that is not there yet: requests that it would be asked about are
// dealt with as while it is away. It changes nothing for one that is known.
func (p *Plugins) Expect(name string, profile Profile) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.members[name]; known {
		return nil
	}
	_, err := p.place(name, profile)
	return err
}

// Attach lets a plugin be asked from now on, in place of the one that was there under its
// name, if any. The channel is closed when the calls of that one have ended.
func (p *Plugins) Attach(name string, profile Profile, impl admission.Admission) (drained <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := p.place(name, profile)
	if err != nil {
		return nil, err
	}
	now := life{}
	now.mutator, _ = impl.(admission.Mutator)
	now.validator, _ = impl.(admission.Validator)
	return m.place.Set(now), nil
}

// Detach says that a plugin is away. The channel is closed when its calls have ended.
func (p *Plugins) Detach(name string) (drained <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members[name]
	if m == nil {
		return ended
	}
	return m.place.Leave()
}

// Remove forgets a plugin: it is not asked any more, and not missed. The channel is closed when
// its calls have ended.
func (p *Plugins) Remove(name string) (drained <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members[name]
	if m == nil {
		return ended
	}
	delete(p.members, name)
	p.publish()
	return m.place.Close()
}

// ended is the channel of calls of which there are none.
var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// place gives a plugin its place, or another profile to the one that it has. mu is held.
func (p *Plugins) place(name string, profile Profile) (*member, error) {
	t, err := compile(profile)
	if err != nil {
		return nil, fmt.Errorf("admission plugin %s: %w", name, err)
	}
	m := p.members[name]
	if m == nil {
		m = &member{name: name}
		p.members[name] = m
	}
	m.terms.Store(t)
	p.publish()
	return m, nil
}

// publish makes the lists that requests look at. mu is held.
func (p *Plugins) publish() {
	var mutators, validators []*member
	for _, m := range p.members {
		t := m.terms.Load()
		if t.Mutates {
			mutators = append(mutators, m)
		}
		if t.Validates {
			validators = append(validators, m)
		}
	}
	for _, l := range []struct {
		to   *atomic.Pointer[[]*member]
		list []*member
	}{{&p.mutators, mutators}, {&p.validators, validators}} {
		if len(l.list) == 0 {
			l.to.Store(nil)
			continue
		}
		slices.SortFunc(l.list, func(a, b *member) int { return strings.Compare(a.name, b.name) })
		l.to.Store(&l.list)
	}
}
