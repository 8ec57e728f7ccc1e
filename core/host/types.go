package host

import (
	"context"
	"errors"
	"fmt"

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
}

func newTypesHolder(s *supervisor) *typesHolder {
	return &typesHolder{supervisor: s, bundle: remote.NewBundle(s.spec.Name, s.host.config.HookTimeout)}
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
	return t.offer(t.bundle, changed)
}

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
	return nil
}

func (t *typesHolder) detach() { t.bundle.Detach() }
