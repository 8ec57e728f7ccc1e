package host_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

// manifests is a Fetcher of plugins that are all this binary.
type manifests struct {
	path string
	of   map[string]manifest.Manifest
}

func (m manifests) Fetch(_ context.Context, s host.Source) (host.Artifact, error) {
	name, _, _ := strings.Cut(s.OCI, "@")
	found, ok := m.of[name]
	if !ok {
		return host.Artifact{}, fmt.Errorf("there is no %s", s.OCI)
	}
	return host.Artifact{Path: m.path, Version: found.Version, Manifest: &found, Digest: "sha256:" + name}, nil
}

func fetched(t *testing.T, list ...manifest.Manifest) func(*host.Config) {
	m := manifests{self(t), map[string]manifest.Manifest{}}
	for _, one := range list {
		one.Points = []string{"controller"}
		one.Permissions = []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}
		m.of[one.Name] = one
	}
	return func(c *host.Config) { c.Fetcher = m }
}

func wished(name string) host.Spec {
	return host.Spec{Name: name, Source: host.Source{OCI: name}, Args: []string{"plugin", "controller", name}, Network: true}
}

func needs(name string, of ...manifest.Requirement) manifest.Manifest {
	return manifest.Manifest{Name: name, Version: "1.2.3", Requires: of}
}

func TestRequirementsOrderStartsAndAreNamed(t *testing.T) {
	r := start(t, fetched(t,
		needs("front", manifest.Requirement{Plugin: "back", Version: ">=1.2"}), needs("back"),
		needs("picky", manifest.Requirement{Plugin: "back", Version: ">=2"}),
		needs("chicken", manifest.Requirement{Plugin: "egg"}), needs("egg", manifest.Requirement{Plugin: "chicken"}),
	), wished("front"), wished("picky"), wished("chicken"), wished("egg"))
	pending := func(what string) func(host.Status) bool {
		return func(st host.Status) bool {
			return st.Health == host.HealthPending && strings.Contains(st.Reason, what)
		}
	}
	r.wait(t, "front", pending(`requires plugin "back", which is not in the catalogue: install it`))
	if err := r.Add(wished("back")); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "front", healthy)
	r.wait(t, "picky", pending(`requires plugin "back" in version >=2, and version 1.2.3 runs`))
	var cycles []string
	for _, name := range []string{"chicken", "egg"} {
		st := r.wait(t, name, func(st host.Status) bool {
			return st.Health == host.HealthRefused || st.Health == host.HealthPending && strings.Contains(st.Reason, "which is Refused")
		})
		cycles = append(cycles, st.Reason)
	}
	if !slices.ContainsFunc(cycles, func(s string) bool { return strings.Contains(s, "chicken") && strings.Contains(s, "requires itself") }) {
		t.Errorf("the cycle is not named: %q", cycles)
	}
}

func TestPluginsAreHeldToTheirManifests(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*manifest.Manifest, *host.Spec)
		want   string
	}{
		"another plugin":   {func(m *manifest.Manifest, _ *host.Spec) { m.Name = "other" }, `holds plugin "other"`},
		"another version":  {func(m *manifest.Manifest, _ *host.Spec) { m.Version = "9.9.9" }, `calls itself version "1.2.3", its manifest "9.9.9"`},
		"too old":          {func(_ *manifest.Manifest, s *host.Spec) { s.Source.Version = ">=2" }, "has version 1.2.3, the entry wants >=2"},
		"a point too many": {func(m *manifest.Manifest, _ *host.Spec) { m.Points = []string{"network"} }, `offers extension point "controller"`},
		"rights too many":  {func(m *manifest.Manifest, _ *host.Spec) { m.Permissions = nil }, "asks for more permissions than its manifest: get pods (core)"},
	} {
		t.Run(name, func(t *testing.T) {
			tweak := fetched(t, needs("w"))
			s := wished("w")
			r := start(t, func(cfg *host.Config) {
				tweak(cfg)
				of := cfg.Fetcher.(manifests).of
				m := of["w"]
				c.change(&m, &s)
				of["w"] = m
			}, func() host.Spec { return s }())
			_ = r.Change(s)
			st := r.wait(t, "w", func(st host.Status) bool {
				return st.Health == host.HealthRefused || upgraded("Refused")(st)
			})
			reason := st.Reason
			if cond, ok := st.Condition(host.ConditionUpgraded); ok {
				reason += cond.Message
			}
			if !strings.Contains(reason, c.want) {
				t.Errorf("reason: %s", reason)
			}
		})
	}
}

func TestPermissionsThatNobodyGrantedArePending(t *testing.T) {
	r := start(t, fetched(t, needs("w")), wished("w"))
	st := r.wait(t, "w", healthy)
	if c, _ := st.Condition(host.ConditionGranted); c.Status || !strings.Contains(c.Message, "get pods (core)") || len(st.Granted) != 0 || len(st.PendingPermissions) != 1 {
		t.Errorf("condition %+v, granted %v", c, st.Granted)
	}
	s := wished("w")
	s.Permissions = []rbacv1.PolicyRule{{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
	if err := r.Change(s); err != nil {
		t.Fatal(err)
	}
	after := r.wait(t, "w", func(st host.Status) bool { return len(st.PendingPermissions) == 0 })
	if after.PID != st.PID || len(after.Granted) != 1 || len(after.Granted[0].Verbs) != 1 {
		t.Errorf("granted is more than was asked for, or took another process: %+v", after.Granted)
	}
}
