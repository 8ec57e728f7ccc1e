package policy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// people are authenticated by the X-User header, root without one. Nobody but root may
// read secrets, and only "half" may not read widgets.
type people struct{}

func (people) Authenticate(r *http.Request) (resource.User, bool, error) {
	return resource.User{Name: apiservertest.UserName(r)}, true, nil
}

func (people) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	allowed := a.User.Name == "root" || a.Resource != "secrets" && a.Resource != "*" && (a.Resource != "widgets" || a.User.Name != "half")
	return allowed, "", nil
}

const (
	podSchema = `{"type":"object","properties":{"spec":{"type":"object","properties":{
 "replicas":{"type":"integer","format":"int32"},"priority":{"type":"integer","default":7},
 "args":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"atomic"},
 "containers":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
  "items":{"type":"object","properties":{"name":{"type":"string"},"image":{"type":"string","default":"busybox"}}}}}}}}`
	dataSchema   = `{"type":"object","properties":{"data":{"type":"object","additionalProperties":{"type":"string"}}}}`
	widgetSchema = `{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"string"}}}}}`
)

// types are the tests' own, with the kinds of policies checked by policies.
func types(policies *policy.Policies) apiservertest.Bundle {
	hooks := checked{policies.Check}
	b := apiservertest.Bundle{HookOf: map[string]any{}, Types: []*crd.Definition{
		apiservertest.Type("", "namespaces", "Namespace", crd.ClusterScoped, `{"type":"object"}`),
		apiservertest.Type("", "configmaps", "ConfigMap", crd.NamespaceScoped, dataSchema),
		apiservertest.Type("", "pods", "Pod", crd.NamespaceScoped, podSchema),
		apiservertest.Type("", "racks", "Rack", crd.ClusterScoped, dataSchema),
	}}
	widgets := apiservertest.Type("test.dev", "widgets", "Widget", crd.NamespaceScoped, widgetSchema)
	widgets.Source = "test"
	widgets.Versions = append(widgets.Versions, crd.Version{Name: "v1beta1", Served: true, Schema: apiservertest.Schema(widgetSchema)})
	b.Types = append(b.Types, widgets)
	for plural, kind := range kinds {
		d := apiservertest.Type("admissionregistration.k8s.io", plural, kind, crd.ClusterScoped, "")
		d.Source = "test"
		d.Versions[0].Status = kind == "ValidatingAdmissionPolicy"
		b.Types, b.HookOf[plural] = append(b.Types, d), hooks
	}
	for _, d := range b.Types {
		for i := range d.Versions {
			d.Versions[i].CompleteColumns = true
		}
	}
	return b
}

// kinds are those of policies, by resource.
var kinds = map[string]string{
	"validatingadmissionpolicies": "ValidatingAdmissionPolicy", "validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
	"mutatingadmissionpolicies": "MutatingAdmissionPolicy", "mutatingadmissionpolicybindings": "MutatingAdmissionPolicyBinding",
}

// checked defaults and checks the objects of policies as the server does.
type checked struct {
	check func(context.Context, *resource.Request) field.ErrorList
}

func (checked) Default(_ context.Context, r *resource.Request) error {
	defaults(r.Object)
	return nil
}

func (c checked) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	return c.check(ctx, r)
}

// defaults sets what the schemas of the four kinds say upstream.
func defaults(object map[string]any) {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return
	}
	set := func(m map[string]any, key string, v any) {
		if _, ok := m[key]; !ok {
			m[key] = v
		}
	}
	if kind, _ := object["kind"].(string); !strings.HasSuffix(kind, "Binding") {
		set(spec, "failurePolicy", "Fail")
	}
	for _, f := range []string{"matchConstraints", "matchResources"} {
		m, ok := spec[f].(map[string]any)
		if !ok {
			continue
		}
		set(m, "matchPolicy", "Equivalent")
		set(m, "namespaceSelector", map[string]any{})
		set(m, "objectSelector", map[string]any{})
	}
}

// cluster is a server with policies, and a client.
type cluster struct {
	*apiservertest.Server
	t        testing.TB
	policies *policy.Policies
	metrics  *prometheus.Registry
	// audited are the annotations of the last request.
	audited map[string]string
}

// auditing catches what validators write into the audit log.
type auditing struct {
	admission.Validator
	c *cluster
}

func (a auditing) Validate(ctx context.Context, r *admission.Request) error {
	a.c.audited = map[string]string{}
	r.Annotate = func(key, value string) { a.c.audited[key] = value }
	return a.Validator.Validate(ctx, r)
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterOn(t, storetest.Open(t))
}

func newClusterOn(t testing.TB, s *store.Store) *cluster {
	t.Helper()
	reg := registry.New()
	c := &cluster{t: t, metrics: prometheus.NewRegistry()}
	var err error
	if c.policies, err = policy.New(policy.Config{Registry: reg, Equivalents: match.NewRegistry(reg), Authorizer: people{}, Metrics: c.metrics}); err != nil {
		t.Fatal(err)
	}
	c.Server = apiservertest.Start(t, apiserver.Config{
		Store: follow.Store{Store: s, Buckets: c.policies.Buckets()}, Registry: reg, Authenticator: people{}, Authorizer: people{},
		Mutators:   []admission.Mutator{c.policies.Mutator()},
		Validators: []admission.Validator{auditing{c.policies.Validator(), c}},
	}, types(c.policies))
	apiservertest.Run(t, func(ctx context.Context) error { return c.policies.Run(ctx, s) })
	if r := c.Do("POST", "/api/v1/namespaces", `{"metadata":{"name":"default","labels":{"team":"a"}}}`); r.Code != 201 && r.Code != 409 {
		t.Fatalf("namespace: %s", r.Body)
	}
	return c
}

const (
	group      = "/apis/admissionregistration.k8s.io/v1/"
	configMaps = "/api/v1/namespaces/default/configmaps"
	pods       = "/api/v1/namespaces/default/pods"
)

// rules of a policy about the resources that tests write.
const about = `{"resourceRules":[{"apiGroups":["","test.dev"],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["configmaps","pods","racks","widgets","namespaces"]}]}`

// validating makes a ValidatingAdmissionPolicy with bindings; spec has no matchConstraints
// unless it is about other resources.
func (c *cluster) validating(name, spec string, bindings ...string) {
	c.t.Helper()
	c.policy("ValidatingAdmissionPolicy", "validatingadmissionpolicies", name, spec, bindings)
}

func (c *cluster) mutating(name, spec string, bindings ...string) {
	c.t.Helper()
	if !strings.Contains(spec, "reinvocationPolicy") {
		spec = `{"reinvocationPolicy":"Never",` + strings.TrimPrefix(spec, "{")
	}
	c.policy("MutatingAdmissionPolicy", "mutatingadmissionpolicies", name, spec, bindings)
}

func (c *cluster) policy(kind, plural, name, spec string, bindings []string) {
	c.t.Helper()
	if !strings.Contains(spec, "matchConstraints") {
		spec = `{"matchConstraints":` + about + "," + strings.TrimPrefix(spec, "{")
	}
	c.Must(201, "POST", group+plural, fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":%q,"metadata":{"name":%q},"spec":%s}`, kind, name, spec))
	for i, b := range bindings {
		if kind == "ValidatingAdmissionPolicy" && !strings.Contains(b, "validationActions") {
			b = `{"validationActions":["Deny"],` + strings.TrimPrefix(b, "{")
		}
		b = fmt.Sprintf(`{"policyName":%q,`, name) + strings.TrimPrefix(b, "{")
		b = strings.Replace(b, ",}", "}", 1)
		c.Must(201, "POST", group+strings.ToLower(kind)+"bindings",
			fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":%q,"metadata":{"name":"%s-%d"},"spec":%s}`, kind+"Binding", name, i, b))
	}
}

func configMap(name, data string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{"l":"1"}},"data":%s}`, name, data)
}

// newRequest is a create as hooks see it.
func newRequest() *resource.Request {
	return &resource.Request{
		Operation: resource.Create, Name: "x", Namespace: "default", Object: map[string]any{"kind": "ConfigMap", "apiVersion": "v1"},
		Resource: runtimeschema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Kind:     runtimeschema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
	}
}
