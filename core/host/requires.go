package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// requirements are what plugins need of each other, as their manifests say.
type requirements struct {
	mu      sync.Mutex
	of      map[string][]manifest.Requirement
	changed chan struct{} // closed when the health of a plugin changes, or what one requires
}

func newRequirements() *requirements {
	return &requirements{of: map[string][]manifest.Requirement{}, changed: make(chan struct{})}
}

func (r *requirements) notify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *requirements) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// set records what a plugin requires.
func (r *requirements) set(name string, list []manifest.Requirement) {
	r.mu.Lock()
	if len(list) == 0 {
		delete(r.of, name)
	} else {
		r.of[name] = list
	}
	r.mu.Unlock()
	r.notify()
}

// cycle is the way from a plugin back to itself, nil where there is none.
func (r *requirements) cycle(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	var walk func(at string, way []string) []string
	walk = func(at string, way []string) []string {
		for _, q := range r.of[at] {
			if q.Plugin == name {
				return append(slices.Clone(way), at, name)
			}
			if seen[q.Plugin] {
				continue
			}
			seen[q.Plugin] = true
			if found := walk(q.Plugin, append(slices.Clone(way), at)); found != nil {
				return found
			}
		}
		return nil
	}
	return walk(name, nil)
}

// dependents are the plugins that require the named one, none where it requires itself by
// way of them.
func (r *requirements) dependents(name string) []string {
	if r.cycle(name) != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for other, list := range r.of {
		if slices.ContainsFunc(list, func(q manifest.Requirement) bool { return q.Plugin == name }) {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}

// awaitRequired returns when all plugins that this one requires run in a version that
// fits. What can't become true by waiting refuses it.
func (i *instance) awaitRequired(ctx context.Context) error {
	var list []manifest.Requirement
	if m := i.artifact.Manifest; m != nil {
		list = m.Requires
	}
	i.update(func(st *Status) { st.Requires = list })
	r := i.host.requirements
	if i.serving.Load() == i {
		r.set(i.spec.Name, list)
		if way := r.cycle(i.spec.Name); way != nil {
			return refuse("requires itself: %s", strings.Join(way, " requires "))
		}
	}
	for {
		changed := r.watch()
		missing := i.host.missing(list)
		if missing == nil {
			i.update(func(st *Status) { setHealth(st, HealthStarting, "") })
			return nil
		}
		i.update(func(st *Status) { setHealth(st, HealthPending, missing.Error()) })
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", missing, ctx.Err())
		}
	}
}

// missing says which of the required plugins does not run, or not in a version that fits.
func (h *Host) missing(list []manifest.Requirement) error {
	for _, q := range list {
		st, err := h.Status(q.Plugin)
		switch {
		case err != nil:
			return fmt.Errorf("requires plugin %q, which is not in the catalogue: install it", q.Plugin)
		case st.Health != HealthHealthy && st.Health != HealthStandby && st.Health != HealthUnhealthy:
			return fmt.Errorf("requires plugin %q, which is %s: %s", q.Plugin, st.Health, st.Reason)
		case !fits(q.Version, st.Version):
			return fmt.Errorf("requires plugin %q in version %s, and version %s runs", q.Plugin, q.Version, st.Version)
		}
	}
	return nil
}

// fits reports whether a version is one that a constraint allows. Prereleases count as the
// versions they come before.
func fits(constraint, version string) bool {
	if constraint == "" {
		return true
	}
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false
	}
	c.IncludePrerelease = true
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}
