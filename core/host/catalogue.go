package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Add puts a plugin into the catalogue. Where the host runs, the plugin is started.
func (h *Host) Add(spec Spec) error { return h.add(spec, func(*supervisor) {}) }

// add is Add, with something to be done before the plugin is started.
func (h *Host) add(spec Spec, before func(*supervisor)) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	if spec.Placement == "" {
		spec.Placement = Process
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return fmt.Errorf("plugin %q: the host has stopped", spec.Name)
	}
	if _, ok := h.plugins[spec.Name]; ok {
		return fmt.Errorf("plugin %q: name: there is already a plugin of this name", spec.Name)
	}
	s, err := newSupervisor(h, spec)
	if err != nil {
		return fmt.Errorf("plugin %q: %w", spec.Name, err)
	}
	before(s)
	h.plugins[spec.Name] = s
	s.types().recall()
	s.admission().recall()
	if h.running {
		h.start(s)
	}
	return nil
}

// Change gives a plugin another entry. What runs goes on until the new entry was found to
// work beside it; see Replacement.
func (h *Host) Change(spec Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	if spec.Placement == "" {
		spec.Placement = Process
	}
	s, err := h.plugin(spec.Name)
	if err != nil {
		return err
	}
	if s.spec.NodeScoped != spec.NodeScoped {
		return fmt.Errorf("plugin %q: nodeScoped: can't be changed; remove the plugin and install it again", spec.Name)
	}
	s.want(spec)
	return nil
}

// want asks for another entry. A plugin that runs says from then on that it is about to be
// tried, so that who has asked does not take what runs for the outcome.
func (s *supervisor) want(spec Spec) {
	current := s.plan.current()
	if same(&current.Spec, &spec) {
		return
	}
	quiet := spec.Disabled || alike(&current.Spec, &spec)
	s.update(func(st *Status) {
		// Within the status' lock, by which conclude knows what is wanted.
		s.plan.want(spec)
		if !quiet {
			s.expectTrial(st, &spec)
		}
	})
}

// Remove stops a plugin and takes it out of the catalogue. Its types are served no longer, and
// what a third party's has kept in its directory is removed.
func (h *Host) Remove(ctx context.Context, name string) error {
	s, err := h.plugin(name)
	if err != nil {
		return err
	}
	s.plan.remove()
	h.mu.Lock()
	running := h.running
	h.mu.Unlock()
	if running {
		select {
		case <-s.stopped:
		case <-ctx.Done():
			return fmt.Errorf("plugin %q is still being stopped: %w", name, ctx.Err())
		}
	}
	h.mu.Lock()
	if h.plugins[name] == s {
		delete(h.plugins, name)
	}
	h.mu.Unlock()
	s.out.close()
	h.requirements.set(name, nil)
	h.relay.forget(name)
	if err := errors.Join(s.types().forget(), s.apiService().forget(), s.admission().forget(), s.forgetData()); err != nil {
		return fmt.Errorf("plugin %q: %w", name, err)
	}
	return nil
}

// InUse lists the checksums of the binaries that run, or that ran before and could come back.
func (h *Host) InUse() []string {
	var out []string
	for _, st := range h.List() {
		out = append(out, st.SHA256)
		for _, r := range st.History {
			out = append(out, r.SHA256)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" })
}

// start sets the supervisor of a plugin to work. It is called with the lock held.
func (h *Host) start(s *supervisor) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.ctx))
	h.all.Go(func() {
		defer cancel()
		defer close(s.stopped)
		s.supervise(ctx)
	})
	// A plugin is stopped after those that require it.
	h.all.Go(func() {
		select {
		case <-s.stopped:
			return
		case <-h.ctx.Done():
		}
		for _, name := range h.requirements.dependents(s.spec.Name) {
			if d, err := h.plugin(name); err == nil {
				<-d.stopped
			}
		}
		cancel()
	})
}

// Run starts all plugins and watches over them until ctx is done; it returns when all
// have stopped. It can be called once.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.running || h.stopped {
		h.mu.Unlock()
		return fmt.Errorf("plugin host: Run was called before")
	}
	h.running, h.ctx = true, ctx
	h.launcher = newLauncher()
	for _, s := range h.sorted() {
		h.start(s)
	}
	h.mu.Unlock()
	go h.keepFigures(ctx)
	published := make(chan struct{})
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(published)
		if h.publisher != nil {
			h.publisher.run(publishing)
		}
	}()
	if h.wishes != nil {
		h.all.Go(func() { h.wishes.run(ctx) })
	}
	<-ctx.Done()
	h.mu.Lock()
	h.running, h.stopped = false, true
	plugins := h.sorted()
	h.mu.Unlock()
	h.all.Wait()
	stopPublishing()
	<-published
	h.relay.close()
	h.launcher.Close()
	h.events.close()
	for _, s := range plugins {
		s.out.close()
	}
	return h.removeSockets()
}

func (h *Host) sorted() []*supervisor {
	out := make([]*supervisor, 0, len(h.plugins))
	for _, s := range h.plugins {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *supervisor) int {
		if a.spec.Name < b.spec.Name {
			return -1
		}
		return 1
	})
	return out
}
