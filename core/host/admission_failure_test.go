package host_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/admission"
)

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
