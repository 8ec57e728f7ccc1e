package match_test

import (
	"context"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// reader has the namespace "here".
type reader struct{}

func (reader) Get(_ context.Context, gr schema.GroupResource, _, name string) (map[string]any, error) {
	if gr.Resource != "namespaces" || name != "here" {
		return nil, nil
	}
	return map[string]any{"metadata": map[string]any{"name": "here", "labels": map[string]any{"team": "a"}}}, nil
}

func (reader) List(context.Context, schema.GroupResource, string) ([]map[string]any, error) {
	return nil, nil
}

func pick(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

func someOf(t *rapid.T, label string, from ...string) []string {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, 3).Draw(t, label)
}

// Rules match what upstream's match.
func TestRulesMatchAsUpstream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := admissionregistrationv1.RuleWithOperations{Rule: admissionregistrationv1.Rule{
			APIGroups: someOf(t, "groups", "", "apps", "*"), APIVersions: someOf(t, "versions", "v1", "v2", "*"),
			Resources: someOf(t, "resources", "*", "*/*", "pods", "pods/*", "pods/status", "*/status", "namespaces", "deployments", "a/b/c"),
		}}
		for _, o := range someOf(t, "operations", "CREATE", "UPDATE", "DELETE", "CONNECT", "*") {
			r.Operations = append(r.Operations, admissionregistrationv1.OperationType(o))
		}
		if s := pick(t, "scope", "", "*", "Cluster", "Namespaced"); s != "" {
			scope := admissionregistrationv1.ScopeType(s)
			r.Scope = &scope
		}
		gvr := schema.GroupVersionResource{Group: pick(t, "group", "", "apps"), Version: pick(t, "version", "v1", "v2"), Resource: pick(t, "resource", "pods", "namespaces", "deployments")}
		sub, op, ns := pick(t, "subresource", "", "status", "b/c"), pick(t, "operation", "CREATE", "UPDATE", "DELETE", "CONNECT"), pick(t, "namespace", "", "here")
		request := &admission.Request{Request: &resource.Request{
			Operation: resource.Operation(op), Resource: gvr, Subresource: sub, Namespace: ns, Name: "x", Reader: reader{},
		}}
		theirs := ns
		if gvr.Resource == "namespaces" {
			request.Namespace, theirs = "", "x" // upstream says that a namespace is in itself
			if gvr.Group != "" || gvr.Version != "v1" {
				theirs = ""
			}
		}
		want := (&rules.Matcher{Rule: r, Attr: upstream.NewAttributesRecord(nil, nil, schema.GroupVersionKind{}, theirs, "x", gvr, sub, upstream.Operation(op), nil, false, nil)}).Matches()
		exact := admissionregistrationv1.Exact
		c, err := match.Webhook([]admissionregistrationv1.RuleWithOperations{r}, &exact, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Match(t.Context(), request, nil); got != want || err != nil {
			t.Errorf("%+v of %s %s/%s: %v, upstream says %v (%v)", r, op, gvr, sub, got, want, err)
		}
	})
}

func rulesFor(group, version, res string) []admissionregistrationv1.NamedRuleWithOperations {
	return []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{"*"},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{res}},
	}}}
}

func TestResources(t *testing.T) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	request := func(namespace, name string) *admission.Request {
		return &admission.Request{Request: &resource.Request{Operation: resource.Create, Resource: pods, Kind: schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: namespace, Name: name, Reader: reader{}}}
	}
	named := rulesFor("", "v1", "pods")
	named[0].ResourceNames = []string{"a", "b"}
	team := func(v string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"team": v}}
	}
	for _, c := range []struct {
		name           string
		m              *admissionregistrationv1.MatchResources
		namespace, is  string
		want, notFound bool
	}{
		{"nothing said", nil, "here", "a", true, false},
		{"no rules", &admissionregistrationv1.MatchResources{}, "here", "a", true, false},
		{"a rule", &admissionregistrationv1.MatchResources{ResourceRules: rulesFor("", "*", "*")}, "here", "a", true, false},
		{"another rule", &admissionregistrationv1.MatchResources{ResourceRules: rulesFor("apps", "*", "*")}, "here", "a", false, false},
		{"a name", &admissionregistrationv1.MatchResources{ResourceRules: named}, "here", "b", true, false},
		{"another name", &admissionregistrationv1.MatchResources{ResourceRules: named}, "here", "c", false, false},
		{"excluded", &admissionregistrationv1.MatchResources{ExcludeResourceRules: rulesFor("", "v1", "pods")}, "here", "a", false, false},
		{"another excluded", &admissionregistrationv1.MatchResources{ExcludeResourceRules: named}, "here", "c", true, false},
		{"namespace", &admissionregistrationv1.MatchResources{NamespaceSelector: team("a")}, "here", "a", true, false},
		{"another namespace", &admissionregistrationv1.MatchResources{NamespaceSelector: team("b")}, "here", "a", false, false},
		{"no such namespace", &admissionregistrationv1.MatchResources{NamespaceSelector: team("a")}, "gone", "a", false, true},
		{"no such namespace, and no rule", &admissionregistrationv1.MatchResources{NamespaceSelector: team("a"), ResourceRules: rulesFor("apps", "*", "*")}, "gone", "a", false, false},
	} {
		criteria, err := match.Resources(c.m)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := criteria.Match(t.Context(), request(c.namespace, c.is), nil)
		if got != c.want || apierrors.IsNotFound(err) != c.notFound {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if _, err := match.Resources(&admissionregistrationv1.MatchResources{ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}); err == nil {
		t.Error("a selector that is none was taken")
	}
}

func TestEquivalents(t *testing.T) {
	reg := registry.New()
	eq := match.NewRegistry(reg)
	put := func(group, plural, kind, bucket string, versions ...crd.Version) {
		t.Helper()
		d := &crd.Definition{Group: group, Scope: crd.NamespaceScoped, Bucket: bucket, Versions: versions,
			Names: crd.Names{Plural: plural, Singular: plural, Kind: kind, ListKind: kind + "List"}}
		if err := reg.Replace(d); err != nil {
			t.Fatal(err)
		}
	}
	v := func(name string) crd.Version { return crd.Version{Name: name, Served: true, Storage: name == "v1"} }
	scaled := v("v1beta1")
	scaled.Scale = &crd.Scale{SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas"}
	put("", "events", "Event", "", v("v1"))
	put("events.k8s.io", "events", "Event", "events", v("v1"))
	put("test.dev", "widgets", "Widget", "", v("v1"), scaled)
	ask := func(group, version, plural, sub string) []match.Target {
		return eq.Equivalents(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}, sub)
	}
	if got := ask("", "v1", "events", ""); len(got) != 1 || got[0].Kind.Group != "events.k8s.io" {
		t.Errorf("events: %v", got)
	}
	if got := ask("test.dev", "v1", "widgets", ""); len(got) != 1 || got[0].Kind.Version != "v1beta1" {
		t.Errorf("widgets: %v", got)
	}
	if got := ask("test.dev", "v1", "widgets", "scale"); len(got) != 1 || got[0].Kind.Kind != "Scale" {
		t.Errorf("scale: %v", got)
	}
	if got := ask("test.dev", "v1", "widgets", "status"); len(got) != 0 {
		t.Errorf("a version without status: %v", got)
	}
	put("test.dev", "widgets", "Widget", "", v("v1"))
	if got := ask("test.dev", "v1", "widgets", ""); len(got) != 0 {
		t.Errorf("a version that is served no more: %v", got)
	}
}
