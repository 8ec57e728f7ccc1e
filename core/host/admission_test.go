package host_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

func TestAdmissionPluginsChangeAndRefuse(t *testing.T) {
	g := guard(t, admissionSpec(t, "guard"))
	t.Run("changes what is written", func(t *testing.T) {
		c := g.On(t)
		o := c.Must(201, "POST", cms, cm()).Object()
		if got := apiservertest.At(o, "metadata.labels.guard"); got != "was-here" {
			t.Errorf("label: %v in %v", got, o)
		}
		name := apiservertest.At(o, "metadata.name").(string)
		o = c.Must(200, "PATCH", cms+"/"+name, `{"metadata":{"labels":{"guard":"gone"}}}`, "Content-Type", "application/merge-patch+json").Object()
		if got := apiservertest.At(o, "metadata.labels.guard"); got != "was-here" {
			t.Errorf("label after a patch: %v", got)
		}
		if uid := apiservertest.At(o, "metadata.uid"); uid == nil || uid == "" {
			t.Errorf("uid: %v", uid)
		}
	})
	t.Run("reads", func(t *testing.T) {
		o := g.On(t).Must(201, "POST", cms, cm("mutate=read")).Object()
		if got := apiservertest.At(o, "metadata.labels"); fmt.Sprint(got) != "map[count:4 read:default]" {
			t.Errorf("labels: %v", got)
		}
	})
	t.Run("may not make it another object", func(t *testing.T) {
		c := g.On(t)
		o := c.Must(201, "POST", cms, cm("mutate=uid")).Object()
		if got := apiservertest.At(o, "metadata.uid"); got == "another" {
			t.Error("a new object has the plugin's uid")
		}
		path := cms + "/" + apiservertest.At(c.Must(201, "POST", cms, cm()).Object(), "metadata.name").(string)
		for _, what := range []string{"uid", "name"} {
			a := c.Do("PATCH", path, `{"data":{"mutate":"`+what+`"}}`, "Content-Type", "application/merge-patch+json")
			if a.Code < 400 || a.Code >= 500 {
				t.Errorf("change of %s: %d %s", what, a.Code, a.Message())
			}
		}
		a := c.Must(500, "POST", cms, cm("mutate=kind"))
		if !strings.Contains(a.Message(), `admission plugin "guard" attempted to change apiVersion or kind`) {
			t.Errorf("message: %s", a.Message())
		}
	})
	for _, c := range []struct {
		do      string
		code    int
		message string
	}{
		{"mutate=refuse", 403, `admission plugin "guard" denied the request: not today`},
		{"validate=refuse", 403, `admission plugin "guard" denied the request: admin may not create this`},
		{"validate=conflict", 409, `admission plugin "guard" denied the request: Operation cannot be fulfilled`},
		{"validate=nothing said", 400, `admission plugin "guard" denied the request without explanation`},
		{"validate=options", 403, `kind:CreateOptions`},
	} {
		t.Run(c.do, func(t *testing.T) {
			a := g.On(t).Must(c.code, "POST", cms, cm(c.do))
			if !strings.Contains(a.Message(), c.message) {
				t.Errorf("message: %s", a.Message())
			}
		})
	}
	t.Run("deletions", func(t *testing.T) {
		c := g.On(t)
		path := cms + "/" + apiservertest.At(c.Must(201, "POST", cms, cm()).Object(), "metadata.name").(string)
		c.Must(200, "PUT", path, strings.Replace(`{"metadata":{"name":"NAME"},"data":{"validate":"none"}}`, "NAME", filepath.Base(path), 1))
		c.Must(200, "DELETE", path, "")
	})
	t.Run("warnings and annotations", func(t *testing.T) {
		a := g.On(t).Must(201, "POST", cms, cm("validate=warn"))
		if got := a.Header.Get("Warning"); !strings.Contains(got, "this is frowned upon") {
			t.Errorf("warning: %q", got)
		}
		if got := g.note("guard.plugin.admission.pintle.dev/seen-by"); got != "guard" {
			t.Errorf("annotation: %q", got)
		}
	})
	t.Run("dry run", func(t *testing.T) {
		c := g.On(t)
		if a := c.Must(403, "POST", cms+"?dryRun=All", cm("validate=dry")); !strings.Contains(a.Message(), "it is a dry run") {
			t.Errorf("message: %s", a.Message())
		}
		c.Must(201, "POST", cms, cm("validate=dry"))
	})
}

func TestAdmissionPluginsWithSideEffectsAreNotAskedOnDryRuns(t *testing.T) {
	g := guard(t, admissionSpec(t, "guard", "TEST_EFFECTS=Some"))
	a := g.Must(400, "POST", cms+"?dryRun=All", cm())
	if !strings.Contains(a.Message(), `admission plugin "guard" does not support dry run`) {
		t.Errorf("message: %s", a.Message())
	}
	g.Must(201, "POST", cms, cm())
	g.Must(201, "POST", "/api/v1/namespaces/kube-system/configmaps?dryRun=All", cm())
}

func TestFailurePoliciesOfAdmissionPlugins(t *testing.T) {
	fail := admissionSpec(t, "guard", "TEST_TIMEOUT=500ms")
	ignore := admissionSpec(t, "guard", "TEST_TIMEOUT=500ms", "TEST_POLICY=Ignore")
	overridden := admissionSpec(t, "guard")
	overridden.Admission = host.AdmissionPolicy{FailurePolicy: "Ignore", Timeout: 500 * time.Millisecond, ExemptNamespaces: []string{"quiet"}}
	for name, s := range map[string]host.Spec{"Fail": fail, "Ignore": ignore, "as the operator says": overridden} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, s)
			for _, do := range []string{"mutate=hang", "validate=hang", "mutate=huge"} {
				started := time.Now()
				a := g.Do("POST", cms, cm(do))
				if took := time.Since(started); took > 10*time.Second {
					t.Errorf("%s took %s", do, took)
				}
				if name != "Fail" {
					if a.Code != 201 {
						t.Errorf("%s: %d %s", do, a.Code, a.Message())
					}
					continue
				}
				if a.Code != 503 || !strings.Contains(a.Message(), `failed calling admission plugin "guard"`) || a.Header.Get("Retry-After") != "1" {
					t.Errorf("%s: %d %s %v", do, a.Code, a.Message(), a.Header)
				}
			}
			if name == "Fail" {
				if n := g.counted(t, "pintle_admission_plugin_duration_seconds", map[string]string{"plugin": "guard", "outcome": "failed"}); n < 3 {
					t.Errorf("%v calls are counted as failed", n)
				}
				return
			}
			if n := g.counted(t, "pintle_admission_plugin_fail_open_total", map[string]string{"plugin": "guard"}); n < 3 {
				t.Errorf("%v calls are counted as ignored", n)
			}
			for _, key := range []string{"failed-open.mutation.plugin.admission.pintle.dev/round_0_index_0", "failed-open.validating.plugin.admission.pintle.dev/round_0_index_0"} {
				if g.note(key) != "guard" {
					t.Errorf("the audit log is not told: %s", key)
				}
			}
		})
	}
	t.Run("namespaces that the operator exempts", func(t *testing.T) {
		g := guard(t, overridden)
		g.Must(201, "POST", "/api/v1/namespaces/quiet/configmaps", cm("mutate=refuse"))
		g.Must(403, "POST", cms, cm("mutate=refuse"))
	})
}

// A plugin that never answers is asked about everything that it may be asked about.
func TestAHungAdmissionPluginDoesNotKeepTheClusterFromHealing(t *testing.T) {
	g := guard(t, admissionSpec(t, "guard", "TEST_TIMEOUT=30s"))
	started := time.Now()
	const hang = `,"data":{"mutate":"hang","validate":"hang"}}`
	for _, w := range []struct{ path, name string }{
		{"/apis/core.pintle.dev/v1/plugins", "guard"},
		{"/apis/coordination.k8s.io/v1/namespaces/default/leases", "node"},
		{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "pintle:plugin:guard"},
		{"/api/v1/namespaces/kube-system/configmaps", "c"},
		{"/api/v1/namespaces/pintle-system/configmaps", "c"},
	} {
		g.Must(201, "POST", w.path, `{"metadata":{"name":"`+w.name+`"}`+hang)
		g.Must(200, "PUT", w.path+"/"+w.name, `{"metadata":{"name":"`+w.name+`","labels":{"a":"b"}}`+hang)
		g.Must(200, "DELETE", w.path+"/"+w.name, "")
	}
	g.Must(200, "PATCH", "/api/v1/namespaces/kube-system", `{"data":{"mutate":"hang"}}`, "Content-Type", "application/merge-patch+json")
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	// What is not exempt is asked about.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if res, err := g.HTTP.Do(g.Request(ctx, "POST", cms, cm("mutate=hang"))); err == nil {
		_ = res.Body.Close()
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestAdmissionPluginsThatDieAreMissedUntilTheyAreBack(t *testing.T) {
	g := guard(t, admissionSpec(t, "guard"))
	for i, do := range []string{"mutate=die", "validate=die"} {
		a := g.Do("POST", cms, cm(do))
		if a.Code != 503 || !strings.Contains(a.Message(), "stopped while it was handling the request") {
			t.Errorf("%s: %d %s", do, a.Code, a.Message())
		}
		g.wait(t, "guard", healthyAgain(i+1))
		g.Must(201, "POST", cms, cm())
	}
	g.stop()
	if a := g.Do("POST", cms, cm()); a.Code != 503 || !strings.Contains(a.Message(), `"guard": it is not running; try again`) {
		t.Errorf("while away: %d %s", a.Code, a.Message())
	}
	g.Must(201, "POST", "/api/v1/namespaces/kube-system/configmaps", cm())
}

// A host that starts again expects the plugins that took part before.
func TestAdmissionPluginsAreMissedFromTheStart(t *testing.T) {
	s := admissionSpec(t, "guard")
	first := guard(t, s)
	first.stop()
	again := guardWith(t, nil)
	h, err := host.New(host.Config{Dir: first.dir, SocketPath: "/nowhere", Tokens: &tokens{}, Admission: again.plugins})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Add(s); err != nil {
		t.Fatal(err)
	}
	if a := again.Do("POST", cms, cm()); a.Code != 503 {
		t.Errorf("before it has started: %d %s", a.Code, a.Message())
	}
	if err := h.Remove(t.Context(), "guard"); err != nil {
		t.Fatal(err)
	}
	again.Must(201, "POST", cms, cm())
	if !again.plugins.Mutator().(admission.Idler).Idle() || !again.plugins.Validator().(admission.Idler).Idle() {
		t.Error("requests look for plugins of which there are none")
	}
	if err := h.Add(s); err != nil {
		t.Fatal(err)
	}
	again.Must(201, "POST", cms, cm())
}

func TestGarbageFromAdmissionPluginsIsNoAnswer(t *testing.T) {
	g := guard(t, spec(t, "garbage-admission", "noise"))
	for say, want := range map[string]string{
		"say-list": "something that is no object", "say-noise": "something that is no object",
		"say-status": "something that is no status", "say-warnings": "1000 warnings, more than",
		"say-annotation": "annotation of 1048577 bytes",
	} {
		a := g.Do("POST", cms, cm("k="+say))
		if a.Code != 503 || !strings.Contains(a.Message(), want) {
			t.Errorf("%s: %d %s", say, a.Code, a.Message())
		}
	}
	if a := g.Do("POST", cms, cm("k=say-empty")); a.Code != 500 || !strings.Contains(a.Message(), "attempted to change apiVersion or kind") {
		t.Errorf("an empty object: %d %s", a.Code, a.Message())
	}
	g.Must(201, "POST", cms, cm("k=say-another"))
	g.Must(201, "POST", cms, cm())
	if st := g.wait(t, "noise", healthy); st.Restarts != 0 {
		t.Errorf("it was restarted %d times", st.Restarts)
	}
}

func TestADisabledAdmissionPluginIsPassedOver(t *testing.T) {
	s := admissionSpec(t, "guard")
	g := guard(t, s)
	g.Must(403, "POST", cms, cm("validate=refuse"))
	s.Disabled = true
	if err := g.Change(s); err != nil {
		t.Fatal(err)
	}
	g.wait(t, "guard", func(st host.Status) bool { return st.Health == host.HealthDisabled })
	g.Must(201, "POST", cms, cm("validate=refuse"))
	s.Disabled = false
	if err := g.Change(s); err != nil {
		t.Fatal(err)
	}
	g.wait(t, "guard", healthy)
	g.Must(403, "POST", cms, cm("validate=refuse"))
}

// rival changes objects after the plugins, once.
type rival struct{}

func (rival) Mutate(_ context.Context, r *admission.Request) (bool, error) {
	meta, ok := r.Object["metadata"].(map[string]any)
	if !ok || r.Round > 0 || told(r, "rival") == "" {
		return false, nil
	}
	meta["labels"] = map[string]any{"rival": "was-here"}
	return true, nil
}

func (rival) Reinvokes() bool { return true }

func TestAdmissionPluginsAreAskedAgainWhereTheyWantTo(t *testing.T) {
	for name, want := range map[string]string{"1": "map[guard:twice rival:was-here]", "": "map[rival:was-here]"} {
		g := guardWith(t, rival{})
		g.running = start(t, func(c *host.Config) { c.Admission = g.plugins }, admissionSpec(t, "guard", "TEST_REINVOKE="+name))
		g.wait(t, "guard", healthy)
		o := g.Must(201, "POST", cms, cm("rival=yes")).Object()
		if got := fmt.Sprint(apiservertest.At(o, "metadata.labels")); got != want {
			t.Errorf("labels %s, want %s", got, want)
		}
		o = g.Must(201, "POST", cms, cm()).Object()
		if got := fmt.Sprint(apiservertest.At(o, "metadata.labels")); got != "map[guard:was-here]" {
			t.Errorf("labels where nobody else changes it: %s", got)
		}
	}
}

func TestAThousandWritesAtOnceThroughTwoAdmissionPlugins(t *testing.T) {
	g := guard(t, admissionSpec(t, "first"), admissionSpec(t, "second"))
	var all sync.WaitGroup
	var waiting atomic.Int64
	turn := make(chan struct{}, 150) // the server takes 200 writes at a time
	for range 1000 {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			waiting.Add(1)
			a := g.Do("POST", cms, cm())
			if a.Code != 201 {
				t.Errorf("%d %s", a.Code, a.Message())
				return
			}
			if got := fmt.Sprint(apiservertest.At(a.Object(), "metadata.labels")); got != "map[first:was-here second:was-here]" {
				t.Errorf("labels: %s", got)
			}
		})
	}
	all.Wait()
	for _, name := range []string{"first", "second"} {
		for _, step := range []string{"mutate", "validate"} {
			if n := g.counted(t, "pintle_admission_plugin_duration_seconds", map[string]string{"plugin": name, "step": step, "outcome": "allowed"}); n != 1000 {
				t.Errorf("%s was asked to %s %v times", name, step, n)
			}
		}
	}
}

// While one instance follows another, no write fails and none is passed over.
func TestWritesGoOnWhileAnAdmissionPluginIsReplaced(t *testing.T) {
	s := admissionSpec(t, "guard", "TEST_REV=0")
	g := guard(t, s)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var written atomic.Int64
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := g.Do("POST", cms, cm())
				if a.Code != 201 || apiservertest.At(a.Object(), "metadata.labels.guard") != "was-here" {
					t.Errorf("%d %s", a.Code, a.Message())
				}
				written.Add(1)
			}
		})
	}
	before := g.wait(t, "guard", healthy).PID
	for i := 1; i <= 3; i++ {
		s.Env = map[string]string{"TEST_REV": fmt.Sprint(i)}
		if err := g.Change(s); err != nil {
			t.Fatal(err)
		}
		before = g.wait(t, "guard", func(st host.Status) bool { return healthy(st) && st.PID != before && st.PID > 0 }).PID
	}
	close(stop)
	writers.Wait()
	if written.Load() == 0 {
		t.Error("nothing was written")
	}
}

func TestAdmissionPluginsThatAreLinkedInDoTheSame(t *testing.T) {
	s := host.Spec{Name: "inside", Placement: host.Builtin, Builtin: &testAdmission{base: base{name: "inside"}}}
	g := guard(t, s)
	o := g.Must(201, "POST", cms, cm()).Object()
	if got := apiservertest.At(o, "metadata.labels.inside"); got != "was-here" {
		t.Errorf("label: %v", got)
	}
	if a := g.Must(403, "POST", cms, cm("validate=refuse")); !strings.Contains(a.Message(), `admission plugin "inside" denied the request: admin may not create this`) {
		t.Errorf("message: %s", a.Message())
	}
}
