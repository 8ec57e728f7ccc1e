package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// people are authenticated by the X-User header, root without one. Nobody but root may
// read secrets, and only "half" may not read widgets.
type people struct{}

func (people) Authenticate(r *http.Request) (resource.User, bool, error) {
	name := r.Header.Get("X-User")
	if name == "" {
		name = "root"
	}
	return resource.User{Name: name}, true, nil
}

func (people) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	allowed := a.User.Name == "root" || a.Resource != "secrets" && a.Resource != "*" && (a.Resource != "widgets" || a.User.Name != "half")
	return allowed, "", nil
}

// bundle is the types of the tests.
type bundle struct {
	check func(context.Context, *resource.Request) field.ErrorList
}

func names(plural, kind string) crd.Names {
	return crd.Names{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"}
}

func parse(text string) func() (*schema.Schema, error) {
	return func() (*schema.Schema, error) {
		s := &schema.Schema{}
		return s, json.Unmarshal([]byte(text), s)
	}
}

const (
	podSchema = `{"type":"object","properties":{"spec":{"type":"object","properties":{
 "replicas":{"type":"integer","format":"int32"},"priority":{"type":"integer","default":7},
 "args":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"atomic"},
 "containers":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
  "items":{"type":"object","properties":{"name":{"type":"string"},"image":{"type":"string","default":"busybox"}}}}}}}}`
	dataSchema  = `{"type":"object","properties":{"data":{"type":"object","additionalProperties":{"type":"string"}}}}`
	widgetTypes = `{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"string"}}}}}`
)

func (b bundle) Definitions() ([]*crd.Definition, error) {
	of := func(group, version, plural, kind string, scope crd.Scope, s string) *crd.Definition {
		d := &crd.Definition{Group: group, Names: names(plural, kind), Scope: scope, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: version, Served: true, Storage: true, CompleteColumns: true}}}
		if s != "" {
			d.Versions[0].Schema = parse(s)
		} else {
			d.Source = "test"
		}
		return d
	}
	const group = "admissionregistration.k8s.io"
	widgets := of("test.dev", "v1", "widgets", "Widget", crd.NamespaceScoped, "")
	widgets.Versions[0].Schema = parse(widgetTypes)
	widgets.Versions = append(widgets.Versions, crd.Version{Name: "v1beta1", Served: true, CompleteColumns: true, Schema: parse(widgetTypes)})
	validating := of(group, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", crd.ClusterScoped, "")
	validating.Versions[0].Status = true
	return []*crd.Definition{
		of("", "v1", "namespaces", "Namespace", crd.ClusterScoped, `{"type":"object"}`),
		of("", "v1", "configmaps", "ConfigMap", crd.NamespaceScoped, dataSchema),
		of("", "v1", "pods", "Pod", crd.NamespaceScoped, podSchema),
		of("", "v1", "racks", "Rack", crd.ClusterScoped, dataSchema),
		widgets, validating,
		of(group, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", crd.ClusterScoped, ""),
		of(group, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", crd.ClusterScoped, ""),
		of(group, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", crd.ClusterScoped, ""),
	}, nil
}

func (b bundle) Hooks(gr runtimeschema.GroupResource) any {
	if gr.Group == "admissionregistration.k8s.io" {
		return checked(b)
	}
	return nil
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
	t        testing.TB
	url      string
	client   *http.Client
	store    *store.Store
	server   *apiserver.Server
	policies *policy.Policies
	metrics  *prometheus.Registry
	// audited are the annotations of the last request.
	audited map[string]string
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
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

func newCluster(t testing.TB) *cluster { return newClusterOn(t, openStore(t)) }

func newClusterOn(t testing.TB, s *store.Store) *cluster {
	t.Helper()
	reg := registry.New()
	c := &cluster{t: t, store: s, metrics: prometheus.NewRegistry()}
	var err error
	if c.policies, err = policy.New(policy.Config{Registry: reg, Equivalents: match.NewRegistry(reg), Authorizer: people{}, Metrics: c.metrics}); err != nil {
		t.Fatal(err)
	}
	c.server, err = apiserver.New(apiserver.Config{
		Store: follow.Store{Store: s, Buckets: c.policies.Buckets()}, Registry: reg, Authenticator: people{}, Authorizer: people{},
		NamespaceResource: runtimeschema.GroupVersionResource{Version: "v1", Resource: "namespaces"},
		Mutators:          []admission.Mutator{c.policies.Mutator()},
		Validators:        []admission.Validator{auditing{c.policies.Validator(), c}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.server.Install(bundle{c.policies.Check}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.policies.Run(ctx, s) }()
	srv := httptest.NewServer(c.server)
	c.url, c.client = srv.URL, srv.Client()
	t.Cleanup(func() {
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if r := c.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"default","labels":{"team":"a"}}}`); r.code != 201 && r.code != 409 {
		t.Fatalf("namespace: %s", r.body)
	}
	return c
}

type answer struct {
	code     int
	body     string
	warnings []string
}

// object is the answer as a tree.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return m
}

// message of a Status.
func (a answer) message(t testing.TB) string {
	s, _ := a.object(t)["message"].(string)
	return s
}

// do sends a request; header are pairs.
func (c *cluster) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header.Values("Warning")}
}

func (c *cluster) must(code int, method, path, body string, header ...string) answer {
	c.t.Helper()
	r := c.do(method, path, body, header...)
	if r.code != code {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.code, code, r.body)
	}
	return r
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
	c.must(201, "POST", group+plural, fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":%q,"metadata":{"name":%q},"spec":%s}`, kind, name, spec))
	for i, b := range bindings {
		if kind == "ValidatingAdmissionPolicy" && !strings.Contains(b, "validationActions") {
			b = `{"validationActions":["Deny"],` + strings.TrimPrefix(b, "{")
		}
		b = fmt.Sprintf(`{"policyName":%q,`, name) + strings.TrimPrefix(b, "{")
		b = strings.Replace(b, ",}", "}", 1)
		c.must(201, "POST", group+strings.ToLower(kind)+"bindings",
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
