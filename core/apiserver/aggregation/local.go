package aggregation

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
)

// together is how many writes are under way at once: the store makes one of them.
const together = 32

// ownGroup has the APIServices themselves; what serves them needs none.
const ownGroup = "apiregistration.k8s.io"

// reconcileLocal writes the APIServices of what is served here where they are not as they
// should be. It returns when it wants to be called again, zero for not before something
// changes.
func (a *Aggregator) reconcileLocal(ctx context.Context) time.Duration {
	if a.cfg.Synced != nil && a.cfg.Synced(ctx) != nil {
		return firstBackoff
	}
	a.want(a.cfg.Types.Snapshot())
	writes, wait := a.localWrites(ctx)
	if len(writes) == 0 {
		return wait
	}
	if !a.cfg.Leading() {
		return maxBackoff // another server writes; this one may have to, some day
	}
	if failed := a.writeAll(ctx, writes); failed {
		return retry
	}
	return wait
}

// wish is what the APIService of a group version that is served here should be.
type wish struct {
	managed  string
	priority Priority
	// plugin that serves it, empty for this server itself.
	plugin string
}

// want works out which group versions are served here.
func (a *Aggregator) want(s *registry.Snapshot) {
	if a.wanted != nil && a.generation == s.Generation {
		return
	}
	a.generation, a.wanted = s.Generation, map[schema.GroupVersion]wish{}
	for _, g := range s.Groups {
		if g.Name == ownGroup {
			continue
		}
		for _, v := range g.Versions {
			managed := managedAlways
			for _, t := range v.Types {
				if t.Definition.Source == registry.BuiltinSource {
					managed = managedOnStart
				}
			}
			gv := schema.GroupVersion{Group: g.Name, Version: v.Version}
			a.wanted[gv] = wish{managed: managed, priority: a.cfg.Priority(gv)}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for gv, o := range a.plugins {
		a.wanted[gv] = wish{managed: managedAlways, priority: o.priority, plugin: o.name}
	}
}

// localWrites returns what is to be written.
func (a *Aggregator) localWrites(ctx context.Context) (writes []store.Write, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	when := now(a.cfg.Now)
	change := func(name string, f func(store.Object) (store.Write, bool, error)) {
		o, err := a.cfg.Store.Get(ctx, key(name))
		if err != nil {
			return // it is gone, or the store is: an event tells
		}
		w, needed, err := f(o)
		if err != nil {
			a.log.Warn("an APIService is left as it is", "name", name, "error", err)
		} else if needed {
			writes = append(writes, w)
		}
	}
	for gv, want := range a.wanted {
		name := nameOf(gv)
		e := a.services[name]
		if e == nil {
			writes = append(writes, newLocal(gv, want, when))
			a.seen[gv] = true
			continue
		}
		first := !a.seen[gv]
		a.seen[gv] = true
		ours := e.managed == managedAlways || e.managed == managedOnStart && first
		if ours && (e.priority != want.priority || e.service || e.plugin != want.plugin) {
			change(name, func(o store.Object) (store.Write, bool, error) { return asWished(o, gv, want) })
		}
	}
	for name, e := range a.services {
		switch _, served := a.wanted[e.gv]; {
		case e.deleting:
		case !served && e.managed != "":
			if age := a.cfg.Now().Sub(a.started); !a.seen[e.gv] && age < grace {
				wait = grace - age
				continue
			}
			writes = append(writes, store.Write{Key: key(name), Delete: true, Expect: store.Expectation(e.revision)})
		case e.remote == nil && !e.localSet:
			change(name, func(o store.Object) (store.Write, bool, error) { return withCondition(o, local, when) })
		}
	}
	return writes, wait
}

// writeAll makes the writes and reports whether one has failed in a way that no event will
// tell of.
func (a *Aggregator) writeAll(ctx context.Context, writes []store.Write) (failed bool) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, together)
	for _, w := range writes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, err := a.cfg.Store.Write(ctx, w)
			if err == nil || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) || ctx.Err() != nil {
				return
			}
			a.log.Warn("an APIService is not written", "key", string(w.Key), "error", err)
			mu.Lock()
			failed = true
			mu.Unlock()
		})
	}
	wg.Wait()
	return failed
}
