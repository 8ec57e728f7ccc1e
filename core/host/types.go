package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// typesHolder hands a plugin's resource types to whoever serves them, where they are news.
// Between two sessions the hooks of a plugin in a process of its own answer 503.
type typesHolder struct {
	supervisor *supervisor
	bundle     *remote.Bundle
	offered    bool // OnBundle took the types; only the session's goroutine looks
	served     []schema.GroupResource
}

func newTypesHolder(s *supervisor) *typesHolder {
	t := &typesHolder{supervisor: s, bundle: remote.NewBundle(s.spec.Name, s.host.config.HookTimeout)}
	t.bundle.OnUnusable(func(err error) { s.tallies.garbage.note(err.Error()) })
	return t
}

func (t *typesHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	ctx, cancel := context.WithTimeout(ctx, t.supervisor.host.config.CallTimeout)
	defer cancel()
	if g.client == nil {
		b, ok := g.base.(resource.Bundle)
		if !ok {
			return fmt.Errorf("it offers point %q and is no bundle of resource types", protocol.PointResource)
		}
		return t.offer(b, false)
	}
	changed, gone, err := t.bundle.Attach(ctx, g.client)
	if err != nil {
		return fmt.Errorf("resource types: %w", err)
	}
	go func() {
		<-gone
		failed <- errors.New("its hooks can no longer be called")
	}()
	if err := t.offer(t.bundle, changed); err != nil {
		return err
	}
	if changed || !t.remembered() {
		t.remember()
	}
	return nil
}

// offer hands the types to whoever serves them, and takes those back that are no longer
// among them.
func (t *typesHolder) offer(b resource.Bundle, changed bool) error {
	config := &t.supervisor.host.config
	if config.OnBundle == nil || (t.offered && !changed) {
		return nil
	}
	if err := config.OnBundle(t.supervisor.spec.Name, b); err != nil {
		t.offered = false
		return fmt.Errorf("its resource types were not accepted: %w", err)
	}
	t.offered = true
	defs, err := b.Definitions()
	if err != nil {
		return fmt.Errorf("resource types: %w", err)
	}
	now := groupResources(defs)
	gone := slices.DeleteFunc(slices.Clone(t.served), func(gr schema.GroupResource) bool { return slices.Contains(now, gr) })
	t.served = now
	names := make([]string, 0, len(now))
	for _, gr := range now {
		names = append(names, gr.String())
	}
	t.supervisor.update(func(st *Status) { st.Types = names })
	return t.withdraw(gone)
}

// withdraw takes types away from whoever serves them.
func (t *typesHolder) withdraw(types []schema.GroupResource) error {
	config := &t.supervisor.host.config
	if config.OnTypesGone == nil || len(types) == 0 {
		return nil
	}
	if err := config.OnTypesGone(t.supervisor.spec.Name, types); err != nil {
		return fmt.Errorf("types that are no longer its own: %w", err)
	}
	return nil
}

// forget takes all types away, as the plugin is no longer in the catalogue.
func (t *typesHolder) forget() error {
	types := t.served
	t.served, t.offered = nil, false
	return errors.Join(t.withdraw(types), t.forgetFile())
}

// leave implements leaver.
func (t *typesHolder) leave(bool) { t.bundle.Leave() }

func (t *typesHolder) detach() { t.bundle.Detach() }

// drain implements drainer.
func (t *typesHolder) drain(ctx context.Context) { t.bundle.Drain(ctx) }
