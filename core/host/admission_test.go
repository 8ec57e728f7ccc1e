package host_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/admission"
)

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
