package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// everyone is whom the X-User header says; breaking the glass is for root alone.
type everyone struct{}

func (everyone) Authenticate(r *http.Request) (resource.User, bool, error) {
	return resource.User{Name: apiservertest.UserName(r), UID: "u1", Groups: []string{"testers"}, Extra: map[string][]string{"k": {"v"}}}, true, nil
}

func (everyone) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.Verb != "breakglass" || a.User.Name == "root", "", nil
}

// types are the tests' own.
func types() apiservertest.Bundle {
	one := apiservertest.Type
	const anything, group = apiservertest.Anything, "admissionregistration.k8s.io"
	pods := one("", "pods", "Pod", crd.NamespaceScoped, anything)
	pods.Versions[0].Status = true
	pods.Versions[0].Subresources = []crd.Subresource{
		{Name: "binding", Kind: "Binding", Verbs: []string{"create"}},
		{Name: "exec", Kind: "PodExecOptions", Verbs: []string{"create", "get"}, Connect: true},
		{Name: "proxy", Kind: "PodProxyOptions", Verbs: []string{"create", "get"}, Connect: true},
		{Name: "log", Kind: "Pod", Verbs: []string{"get"}, Connect: true},
	}
	namespaces := one("", "namespaces", "Namespace", crd.ClusterScoped, anything)
	namespaces.Versions[0].Status = true
	reviews := one("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", crd.ClusterScoped, anything)
	reviews.Virtual = true
	widget := apiservertest.Schema(`{"type":"object","properties":{"spec":{"type":"object","properties":{
	 "size":{"type":"string","enum":["small","large"]},"color":{"type":"string","default":"grey"},"replicas":{"type":"integer"}}},
	 "status":{"type":"object","properties":{"replicas":{"type":"integer"},"phase":{"type":"string"}}}}}`)
	scale := &crd.Scale{SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas"}
	return apiservertest.Bundle{
		HookOf: map[string]any{"pods": podHooks{}, "subjectaccessreviews": reviewHooks{}},
		Types: []*crd.Definition{
			namespaces, pods, reviews,
			one("", "configmaps", "ConfigMap", crd.NamespaceScoped, `{"type":"object","properties":{"data":{"type":"object","additionalProperties":{"type":"string"}}}}`),
			one("", "services", "Service", crd.NamespaceScoped, anything),
			one("", "persistentvolumes", "PersistentVolume", crd.ClusterScoped, anything),
			one("discovery.k8s.io", "endpointslices", "EndpointSlice", crd.NamespaceScoped, anything),
			one(group, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", crd.ClusterScoped, anything),
			one(group, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", crd.ClusterScoped, anything),
			{Group: "test.dev", Names: apiservertest.Names("widgets", "Widget"), Scope: crd.NamespaceScoped, Source: "crd:widgets.test.dev",
				Versions: []crd.Version{
					{Name: "v1", Served: true, Storage: true, Status: true, Schema: widget, Scale: scale},
					{Name: "v1beta1", Served: true, Status: true, Schema: widget, Scale: scale},
				}},
		},
	}
}

// podHooks own the status of new pods and who their guard is, and bind.
type podHooks struct{}

func (podHooks) Admit(_ context.Context, r *resource.Request) error {
	if spec, ok := r.Object["spec"].(map[string]any); ok && spec["guard"] != nil {
		spec["guard"] = "the kind's"
	}
	return nil
}

func (podHooks) Prepare(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create {
		meta, _ := r.Object["metadata"].(map[string]any)
		if meta["name"] == "" || meta["uid"] == nil {
			return fmt.Errorf("a pod is prepared without its name or uid: %v", meta)
		}
		r.Object["status"] = map[string]any{"phase": "Pending"}
	}
	return nil
}

func (podHooks) CreateSubresource(_ context.Context, r *resource.Request, parent map[string]any) (resource.SubresourceResult, error) {
	target, _ := r.Object["target"].(map[string]any)
	spec, ok := parent["spec"].(map[string]any)
	if !ok {
		spec = map[string]any{}
		parent["spec"] = spec
	}
	spec["nodeName"] = target["name"]
	return resource.SubresourceResult{}, nil
}

type reviewHooks struct{}

func (reviewHooks) CreateVirtual(_ context.Context, r *resource.Request) (map[string]any, error) {
	r.Object["status"] = map[string]any{"allowed": true}
	return r.Object, nil
}

func goTypes(gvk runtimeschema.GroupVersionKind) (runtime.Object, bool) {
	switch gvk.Kind {
	case "PodExecOptions":
		return &corev1.PodExecOptions{}, true
	case "PodProxyOptions":
		return &corev1.PodProxyOptions{}, true
	}
	return nil, false
}

// api is an API server with webhooks.
type api struct {
	*apiservertest.Server
	t       testing.TB
	metrics *prometheus.Registry
	// streamed are the queries of the byte streams that were let through.
	streamed chan string
}

// noting lets a test hear what admission tells the audit log.
type noting struct {
	admission.Mutator
	admission.Validator
	note []func(key, value string)
}

func (n noting) listen(r *admission.Request) *admission.Request {
	own := *r
	own.Annotate = func(key, value string) {
		for _, f := range n.note {
			f(key, value)
		}
	}
	return &own
}

// Mutate implements admission.Mutator.
func (n noting) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	return n.Mutator.Mutate(ctx, n.listen(r)) //nolint:wrapcheck // passed through
}

// Validate implements admission.Validator.
func (n noting) Validate(ctx context.Context, r *admission.Request) error {
	return n.Validator.Validate(ctx, n.listen(r)) //nolint:wrapcheck // passed through
}

// Reinvokes implements admission.Reinvoker.
func (noting) Reinvokes() bool { return true }

// newAPI starts a server. note hears what webhooks tell the audit log.
func newAPI(t testing.TB, note ...func(key, value string)) *api {
	t.Helper()
	st, reg := storetest.Open(t), registry.New()
	a := &api{t: t, metrics: prometheus.NewRegistry(), streamed: make(chan string, 16)}
	hooks, err := webhook.New(webhook.Config{
		Services: backend.NewResolver(st), Equivalents: match.NewRegistry(reg), Authorizer: everyone{}, Metrics: a.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := apiserver.Config{
		Store: follow.Store{Store: st, Buckets: hooks.Buckets()}, Registry: reg, Authenticator: everyone{}, Authorizer: everyone{},
		GoTypes: goTypes, Metrics: a.metrics,
		Connect:  func(w http.ResponseWriter, r *http.Request, _ auth.Attributes) { a.streamed <- r.URL.RawQuery },
		Mutators: []admission.Mutator{hooks.Mutator()}, Validators: []admission.Validator{hooks.Validator()},
	}
	if len(note) > 0 {
		n := noting{hooks.Mutator(), hooks.Validator(), note}
		cfg.Mutators, cfg.Validators = []admission.Mutator{n}, []admission.Validator{n}
	}
	a.Server = apiservertest.Start(t, cfg, types())
	apiservertest.Run(t, func(ctx context.Context) error { return hooks.Run(ctx, st) })
	for _, ns := range []string{"default", "other"} {
		a.Must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"`+ns+`","labels":{"team":"`+ns+`"}}}`)
	}
	return a
}

const (
	configs    = "/apis/admissionregistration.k8s.io/v1/"
	mutating   = configs + "mutatingwebhookconfigurations"
	validating = configs + "validatingwebhookconfigurations"
	cms        = "/api/v1/namespaces/default/configmaps"
	pods       = "/api/v1/namespaces/default/pods"
	widgets    = "/apis/test.dev/v1/namespaces/default/widgets"
)

// configure writes a configuration. Webhooks are JSON texts of what differs from the
// defaults: everything on everything, failure is fatal.
func (a *api) configure(path, name string, hooks ...string) {
	a.t.Helper()
	var list []any
	for i, text := range hooks {
		h := map[string]any{
			"name": fmt.Sprintf("h%d.%s.test.dev", i, name), "failurePolicy": "Fail", "matchPolicy": "Equivalent", "sideEffects": "None",
			"timeoutSeconds": 10, "admissionReviewVersions": []any{"v1"}, "namespaceSelector": map[string]any{}, "objectSelector": map[string]any{},
			"rules": []any{map[string]any{"operations": []any{"*"}, "apiGroups": []any{"*"}, "apiVersions": []any{"*"}, "resources": []any{"*/*"}, "scope": "*"}},
		}
		var own map[string]any
		if err := json.Unmarshal([]byte(text), &own); err != nil {
			a.t.Fatalf("%s: %v", text, err)
		}
		for k, v := range own {
			h[k] = v
		}
		list = append(list, h)
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name}, "webhooks": list})
	if err != nil {
		a.t.Fatal(err)
	}
	a.Do("DELETE", path+"/"+name, "")
	a.Must(201, "POST", path, string(body))
}

// clear removes all configurations.
func (a *api) clear() {
	a.Must(200, "DELETE", mutating, "")
	a.Must(200, "DELETE", validating, "")
}

type verdict = admissionv1.AdmissionResponse

// server is a webhook server. Paths have handlers of their own; others allow.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	seen     []*admissionv1.AdmissionRequest
	paths    []string
	handlers map[string]func(*admissionv1.AdmissionRequest) *verdict
	raw      map[string]http.HandlerFunc
	protos   map[string]int
	// opened counts the connections.
	opened atomic.Int32
}

func newWebhookServer(t testing.TB) *server {
	t.Helper()
	s := &server{handlers: map[string]func(*admissionv1.AdmissionRequest) *verdict{}, raw: map[string]http.HandlerFunc{}, protos: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.opened.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, review.Request)
	s.paths = append(s.paths, r.URL.Path)
	s.protos[r.Proto]++
	handle, raw := s.handlers[r.URL.Path], s.raw[r.URL.Path]
	s.mu.Unlock()
	if raw != nil {
		raw(w, r)
		return
	}
	review.Response = &verdict{Allowed: true}
	if handle != nil {
		review.Response = handle(review.Request)
	}
	if review.Response != nil && review.Response.UID == "" {
		review.Response.UID = review.Request.UID
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func (s *server) on(path string, f func(*admissionv1.AdmissionRequest) *verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = f
}

func (s *server) onRaw(path string, f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw[path] = f
}

// take returns what was asked since the last call.
func (s *server) take() []*admissionv1.AdmissionRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen, s.paths = nil, nil
	return seen
}

func (s *server) takePaths() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := strings.Join(s.paths, " ")
	s.seen, s.paths = nil, nil
	return paths
}

func (s *server) bundle() string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// at is a webhook at a path of the server, with what else is said of it.
func (s *server) at(path, more string) string {
	text := fmt.Sprintf(`{"clientConfig":{"url":%q,"caBundle":%q}`, s.URL+path, s.bundle())
	if more != "" {
		text += "," + more
	}
	return text + "}"
}

// patching allows with a JSON patch.
func patching(patch string) func(*admissionv1.AdmissionRequest) *verdict {
	return func(*admissionv1.AdmissionRequest) *verdict {
		kind := admissionv1.PatchTypeJSONPatch
		return &verdict{Allowed: true, Patch: []byte(patch), PatchType: &kind}
	}
}

func denying(s *metav1.Status) func(*admissionv1.AdmissionRequest) *verdict {
	return func(*admissionv1.AdmissionRequest) *verdict { return &verdict{Result: s} }
}

func asTree(t testing.TB, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
