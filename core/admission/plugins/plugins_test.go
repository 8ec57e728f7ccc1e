package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// tester is a plugin that notes what it is asked.
type tester struct {
	declaration admission.Declaration
	mutate      func(r *admission.Request) (bool, error)
	validate    func(r *admission.Request) error

	mu    sync.Mutex
	asked []string
}

func (*tester) Info() plugin.Info                       { return plugin.Info{Name: "test", Version: "1.0.0"} }
func (*tester) ConfigSchema() []byte                    { return nil }
func (*tester) Configure(context.Context, []byte) error { return nil }
func (p *tester) Declare() admission.Declaration        { return p.declaration }

func (p *tester) note(r *admission.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf("%s %s %s", r.Operation, r.Resource.Version, strings.Trim(r.Resource.Resource+"/"+r.Subresource, "/")))
}

func (p *tester) Mutate(_ context.Context, r *admission.Request) (bool, error) {
	p.note(r)
	if p.mutate == nil {
		return false, nil
	}
	return p.mutate(r)
}

func (p *tester) Validate(_ context.Context, r *admission.Request) error {
	if p.validate == nil {
		return nil
	}
	return p.validate(r)
}

type api struct {
	*apiservertest.Server
	plugins *plugins.Plugins
}

func newAPI(t *testing.T) *api {
	t.Helper()
	reg := registry.New()
	p, err := plugins.New(plugins.Config{Equivalents: match.NewRegistry(reg)})
	if err != nil {
		t.Fatal(err)
	}
	widget := apiservertest.Schema(`{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"string"},"replicas":{"type":"integer"}}}}}`)
	one := apiservertest.Type
	a := &api{plugins: p}
	a.Server = apiservertest.Start(t, apiserver.Config{
		Registry: reg, Mutators: []admission.Mutator{p.Mutator()}, Validators: []admission.Validator{p.Validator()},
	}, apiservertest.Bundle{Types: []*crd.Definition{
		one("", "namespaces", "Namespace", crd.ClusterScoped, apiservertest.Anything),
		one("", "configmaps", "ConfigMap", crd.NamespaceScoped, apiservertest.Anything),
		{Group: "test.dev", Names: apiservertest.Names("widgets", "Widget"), Scope: crd.NamespaceScoped, Source: "crd:widgets.test.dev",
			Versions: []crd.Version{
				{Name: "v1", Served: true, Storage: true, Schema: widget}, {Name: "v1beta1", Served: true, Schema: widget},
			}},
	}})
	for _, ns := range []string{"default", "quiet"} {
		a.Must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"`+ns+`","labels":{"name":"`+ns+`"}}}`)
	}
	return a
}

// attach lets a plugin take part; its declaration is completed as a host does.
func (a *api) attach(t *testing.T, name string, p *tester) {
	t.Helper()
	if len(p.declaration.Rules) == 0 {
		p.declaration.Rules = []admission.Rule{{APIGroups: []string{"*"}, Resources: []string{"*"}}}
	}
	if _, err := a.plugins.Attach(name, plugins.Profile{Declaration: p.declaration, Mutates: true, Validates: true}, p); err != nil {
		t.Fatal(err)
	}
}

const (
	cms     = "/api/v1/namespaces/default/configmaps"
	widgets = "/apis/test.dev/v1beta1/namespaces/default/widgets"
)

// A rule for one version of a type is not got around by writing another.
func TestPluginsSeeTheVersionThatTheirRuleNames(t *testing.T) {
	a := newAPI(t)
	p := &tester{
		declaration: admission.Declaration{Rules: []admission.Rule{{APIGroups: []string{"test.dev"}, APIVersions: []string{"v1"}, Resources: []string{"widgets"}}}},
		mutate: func(r *admission.Request) (bool, error) {
			if r.Kind.Version != "v1" || r.Object["apiVersion"] != "test.dev/v1" {
				return false, fmt.Errorf("it sees %v, %v", r.Kind, r.Object["apiVersion"])
			}
			r.Object["spec"] = map[string]any{"size": "large"}
			return true, nil
		},
		validate: func(r *admission.Request) error {
			if r.Resource != (schema.GroupVersionResource{Group: "test.dev", Version: "v1", Resource: "widgets"}) {
				return fmt.Errorf("it sees %v", r.Resource)
			}
			return nil
		},
	}
	a.attach(t, "p", p)
	o := a.Must(201, "POST", widgets, `{"apiVersion":"test.dev/v1beta1","kind":"Widget","metadata":{"name":"w"}}`).Object()
	if o["apiVersion"] != "test.dev/v1beta1" || apiservertest.At(o, "spec.size") != "large" {
		t.Errorf("stored: %v", o)
	}
	if got := fmt.Sprint(p.asked); got != "[CREATE v1 widgets]" {
		t.Errorf("asked: %s", got)
	}
}

func TestPluginsAreAskedAboutWhatTheirRulesName(t *testing.T) {
	rule := func(change func(*admission.Rule)) admission.Rule {
		r := admission.Rule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Operations: []resource.Operation{admission.AllOperations}}
		change(&r)
		return r
	}
	labels := func(k, v string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}
	}
	for name, c := range map[string]struct {
		rule admission.Rule
		want string
	}{
		"all operations":           {rule(func(*admission.Rule) {}), "[CREATE v1 configmaps UPDATE v1 configmaps DELETE v1 configmaps]"},
		"some":                     {rule(func(r *admission.Rule) { r.Operations = []resource.Operation{resource.Delete} }), "[DELETE v1 configmaps]"},
		"those of nobody's saying": {rule(func(r *admission.Rule) { r.Operations = nil }), "[CREATE v1 configmaps UPDATE v1 configmaps]"},
		"another group":            {rule(func(r *admission.Rule) { r.APIGroups = []string{"apps"} }), "[]"},
		"another scope":            {rule(func(r *admission.Rule) { r.Scope = admission.ClusterScope }), "[]"},
		"its namespace":            {rule(func(r *admission.Rule) { r.NamespaceSelector = labels("name", "default") }), "[CREATE v1 configmaps UPDATE v1 configmaps DELETE v1 configmaps]"},
		"another namespace":        {rule(func(r *admission.Rule) { r.NamespaceSelector = labels("name", "quiet") }), "[]"},
		"its labels":               {rule(func(r *admission.Rule) { r.ObjectSelector = labels("a", "b") }), "[UPDATE v1 configmaps DELETE v1 configmaps]"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			p := &tester{declaration: admission.Declaration{Rules: []admission.Rule{c.rule}}}
			a.attach(t, "p", p)
			a.Must(201, "POST", cms, `{"metadata":{"name":"c"}}`)
			a.Must(200, "PUT", cms+"/c", `{"metadata":{"name":"c","labels":{"a":"b"}}}`)
			a.Must(200, "DELETE", cms+"/c", "")
			if got := fmt.Sprint(p.asked); got != c.want {
				t.Errorf("asked: %s, want %s", got, c.want)
			}
		})
	}
}

func TestTheFirstByNameIsWhomTheClientHearsOf(t *testing.T) {
	a := newAPI(t)
	var meet sync.WaitGroup
	meet.Add(3) // all are asked at once, or nobody gets on
	for _, name := range []string{"c", "a", "b"} {
		a.attach(t, name, &tester{validate: func(r *admission.Request) error {
			meet.Done()
			meet.Wait()
			r.Warnings = append(r.Warnings, "of "+name)
			if name == "a" {
				return nil
			}
			return errors.New("no")
		}})
	}
	answer := a.Must(403, "POST", cms, `{"metadata":{"name":"c"}}`)
	if answer.Message() != `admission plugin "b" denied the request: no` {
		t.Errorf("message: %s", answer.Message())
	}
	if got := strings.Join(answer.Header.Values("Warning"), " "); !strings.Contains(got, "of a") || !strings.Contains(got, "of c") {
		t.Errorf("warnings: %s", got)
	}
}

func TestDeclarationsThatMakeNoSenseAreRefused(t *testing.T) {
	a := newAPI(t)
	good := admission.Rule{APIGroups: []string{""}, Resources: []string{"pods"}}
	for want, d := range map[string]admission.Declaration{
		"rules: at least one is needed":                {},
		"rules[1].apiGroups: at least one is needed":   {Rules: []admission.Rule{good, {Resources: []string{"pods"}}}},
		"rules[0].resources: at least one is needed":   {Rules: []admission.Rule{{APIGroups: []string{""}}}},
		`rules[0].operations: "create" is none of`:     {Rules: []admission.Rule{{APIGroups: []string{""}, Resources: []string{"pods"}, Operations: []resource.Operation{"create"}}}},
		`rules[0].scope: "Node" is none of`:            {Rules: []admission.Rule{{APIGroups: []string{""}, Resources: []string{"pods"}, Scope: "Node"}}},
		`failurePolicy: "ignore" is neither`:           {Rules: []admission.Rule{good}, FailurePolicy: "ignore"},
		`sideEffects: "Unknown" is none of`:            {Rules: []admission.Rule{good}, SideEffects: "Unknown"},
		"timeout: 1m0s is not between 0 and 30s":       {Rules: []admission.Rule{good}, Timeout: time.Minute},
		"rules[0].objectSelector: \"Equals\" is not a": {Rules: []admission.Rule{{APIGroups: []string{""}, Resources: []string{"pods"}, ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Equals"}}}}}},
	} {
		_, err := a.plugins.Attach("p", plugins.Profile{Declaration: d, Validates: true}, &tester{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if !a.plugins.Validator().(admission.Idler).Idle() {
		t.Error("a plugin without a declaration is waited for")
	}
}
