package host_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// guarded is an API server whose admission has plugins.
type guarded struct {
	*apiservertest.Server
	*running
	plugins *plugins.Plugins
	metrics *prometheus.Registry

	mu    sync.Mutex
	notes map[string]string // for the audit log
}

// noting hears what admission tells the audit log.
type noting struct {
	g *guarded
	admission.Mutator
	admission.Validator
}

func (n noting) listen(r *admission.Request) *admission.Request {
	own := *r
	own.Annotate = func(key, value string) {
		n.g.mu.Lock()
		defer n.g.mu.Unlock()
		n.g.notes[key] = value
	}
	return &own
}

func (n noting) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	return n.Mutator.Mutate(ctx, n.listen(r))
}

func (n noting) Validate(ctx context.Context, r *admission.Request) error {
	return n.Validator.Validate(ctx, n.listen(r))
}

func (n noting) Idle() bool { return n.Mutator.(admission.Idler).Idle() }

func (noting) Reinvokes() bool { return true }

func guard(t testing.TB, specs ...host.Spec) *guarded {
	t.Helper()
	g := guardWith(t, nil)
	g.running = start(t, func(c *host.Config) { c.Admission = g.plugins }, specs...)
	for _, s := range specs {
		g.wait(t, s.Name, healthy)
	}
	return g
}

// guardWith is the API server without a host.
func guardWith(t testing.TB, more admission.Mutator) *guarded {
	t.Helper()
	reg := registry.New()
	g := &guarded{metrics: prometheus.NewRegistry(), notes: map[string]string{}}
	var err error
	if g.plugins, err = plugins.New(plugins.Config{Equivalents: match.NewRegistry(reg), Metrics: g.metrics}); err != nil {
		t.Fatal(err)
	}
	n := noting{g, g.plugins.Mutator(), g.plugins.Validator()}
	cfg := apiserver.Config{Registry: reg, Mutators: []admission.Mutator{n}, Validators: []admission.Validator{n}}
	if more != nil {
		cfg.Mutators = append(cfg.Mutators, more)
	}
	one := apiservertest.Type
	const anything = apiservertest.Anything
	g.Server = apiservertest.Start(t, cfg, apiservertest.Bundle{Types: []*crd.Definition{
		one("", "namespaces", "Namespace", crd.ClusterScoped, anything),
		one("", "configmaps", "ConfigMap", crd.NamespaceScoped, anything),
		one("coordination.k8s.io", "leases", "Lease", crd.NamespaceScoped, anything),
		one("core.pintle.dev", "plugins", "Plugin", crd.ClusterScoped, anything),
		one("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", crd.ClusterScoped, anything),
	}})
	for _, ns := range []string{"default", "kube-system", "pintle-system", "quiet"} {
		g.Must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"`+ns+`"}}`)
	}
	return g
}

func admissionSpec(t testing.TB, name string, env ...string) host.Spec {
	s := spec(t, "admission", name)
	s.Env = map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		s.Env[k] = v
	}
	return s
}

const cms = "/api/v1/namespaces/default/configmaps"

var counter atomic.Int64

// cm is a config map of a name of its own whose data tells the plugin what to do.
func cm(data ...string) string {
	var fields []string
	for _, d := range data {
		k, v, _ := strings.Cut(d, "=")
		fields = append(fields, fmt.Sprintf("%q:%q", k, v))
	}
	return fmt.Sprintf(`{"metadata":{"name":"cm-%d"},"data":{%s}}`, counter.Add(1), strings.Join(fields, ","))
}

func (g *guarded) note(key string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.notes[key]
}

// counted adds up the counters of a metric.
func (g *guarded) counted(t testing.TB, name string, labels map[string]string) (n float64) {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			maps.DeleteFunc(have, func(k, _ string) bool { _, asked := labels[k]; return !asked })
			if maps.Equal(have, labels) {
				n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return n
}
