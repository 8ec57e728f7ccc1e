package controllerruntime_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	sdkadmission "github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/controllerruntime"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const manifests = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: mutating}
webhooks:
- name: mmap.example.dev
  clientConfig: {service: {name: s, namespace: n, path: /mutate--v1-configmap}}
  failurePolicy: Ignore
  sideEffects: None
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: validating}
webhooks:
- name: vmap.example.dev
  clientConfig: {service: {name: s, namespace: n, path: /validate--v1-configmap}}
  failurePolicy: Fail
  sideEffects: NoneOnDryRun
  timeoutSeconds: 3
  objectSelector: {matchExpressions: [{key: free, operator: DoesNotExist}]}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: ["*"], resources: [configmaps]}]
`

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = corev1.AddToScheme(s)
	return s
}

func project(setup func(ctrl.Manager) error) controllerruntime.Project {
	return controllerruntime.Project{
		Info: plugin.Info{Name: "maps", Version: "1.0.0"}, Options: ctrl.Options{Scheme: scheme()}, Setup: setup,
	}
}

type maps struct{}

func (maps) Default(_ context.Context, m *corev1.ConfigMap) error {
	if _, ok := m.Data["colour"]; !ok {
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		m.Data["colour"] = "red"
	}
	return nil
}

func (maps) ValidateCreate(_ context.Context, m *corev1.ConfigMap) (admission.Warnings, error) {
	switch m.Data["colour"] {
	case "mauve":
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, m.Name,
			field.ErrorList{field.NotSupported(field.NewPath("data", "colour"), "mauve", []string{"red"})})
	case "pink":
		return admission.Warnings{"pink fades"}, nil
	}
	return nil, nil
}

func (v maps) ValidateUpdate(ctx context.Context, old, m *corev1.ConfigMap) (admission.Warnings, error) {
	if old.Data["colour"] != m.Data["colour"] {
		return nil, errors.New("a map keeps its colour")
	}
	return v.ValidateCreate(ctx, m)
}

func (maps) ValidateDelete(_ context.Context, m *corev1.ConfigMap) (admission.Warnings, error) {
	if m.Name == "kept" {
		return nil, errors.New("it is kept")
	}
	return nil, nil
}

func withWebhooks() controllerruntime.Project {
	p := project(func(mgr ctrl.Manager) error {
		return ctrl.NewWebhookManagedBy(mgr, &corev1.ConfigMap{}).WithDefaulter(maps{}).WithValidator(maps{}).Complete()
	})
	p.Webhooks = []byte(manifests)
	return p
}

func configMap(name string, data, labels map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": "default", "labels": labels}, "data": data,
	}
}

func request(op resource.Operation, object, old map[string]any) *sdkadmission.Request {
	return &sdkadmission.Request{Request: &resource.Request{
		Operation: op, Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Kind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Namespace: "default", Name: "m", Object: object, Old: old,
		User: resource.User{Name: "eve", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}},
	}}
}

func TestWebhooks(t *testing.T) {
	p := controllerruntime.New(withWebhooks())
	if err := p.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	a := p.Admission()
	d := a.Declare()
	if err := d.Complete(); err != nil {
		t.Fatal(err)
	}
	if d.FailurePolicy != sdkadmission.Fail || d.SideEffects != sdkadmission.NoneOnDryRun || d.Timeout != 3*time.Second || len(d.Rules) != 2 {
		t.Errorf("declaration: %+v", d)
	}

	t.Run("defaults", func(t *testing.T) {
		r := request(resource.Create, configMap("m", map[string]any{"a": "b"}, nil), nil)
		changed, err := a.Mutate(t.Context(), r)
		if data, _ := r.Object["data"].(map[string]any); err != nil || !changed || data["colour"] != "red" || data["a"] != "b" {
			t.Errorf("%v, %v, %v", changed, err, r.Object)
		}
		if changed, err := a.Mutate(t.Context(), r); changed || err != nil {
			t.Errorf("a second time: %v, %v", changed, err)
		}
		r.Subresource = "status"
		delete(r.Object["data"].(map[string]any), "colour")
		if changed, err := a.Mutate(t.Context(), r); changed || err != nil {
			t.Errorf("of a subresource: %v, %v", changed, err)
		}
	})

	red := func() map[string]any { return configMap("m", map[string]any{"colour": "red"}, nil) }
	mauve := configMap("m", map[string]any{"colour": "mauve"}, nil)
	for name, tc := range map[string]struct {
		r       *sdkadmission.Request
		want    string
		code    int32
		warning string
	}{
		"good":        {r: request(resource.Create, red(), nil)},
		"a bad field": {r: request(resource.Create, mauve, nil), want: `admission webhook "vmap.example.dev" denied the request: ConfigMap "m" is invalid: data.colour: Unsupported value: "mauve"`, code: http.StatusUnprocessableEntity},
		"a warning":   {r: request(resource.Create, configMap("m", map[string]any{"colour": "pink"}, nil), nil), warning: "pink fades"},
		"an update":   {r: request(resource.Update, configMap("m", map[string]any{"colour": "blue"}, nil), red()), want: "a map keeps its colour", code: http.StatusForbidden},
		"a delete":    {r: request(resource.Delete, nil, configMap("kept", nil, nil)), want: "it is kept", code: http.StatusForbidden},
		"another":     {r: request(resource.Delete, nil, red())},
		"not selected": {
			r: request(resource.Create, configMap("m", map[string]any{"colour": "mauve"}, map[string]any{"free": "yes"}), nil),
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := a.Validate(t.Context(), tc.r)
			if tc.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
			} else {
				var status *apierrors.StatusError
				if !errors.As(err, &status) || status.ErrStatus.Code != tc.code || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %d with %q", err, tc.code, tc.want)
				}
			}
			if tc.warning != "" && !slices.Contains(tc.r.Warnings, tc.warning) {
				t.Errorf("warnings %v", tc.r.Warnings)
			}
		})
	}
}

func TestRefusesProjects(t *testing.T) {
	nothing := func(ctrl.Manager) error { return nil }
	for name, tc := range map[string]struct {
		change func(*controllerruntime.Project)
		want   string
	}{
		"no setup":    {func(p *controllerruntime.Project) { p.Setup = nil }, "Project.Setup is needed"},
		"setup fails": {func(p *controllerruntime.Project) { p.Setup = func(ctrl.Manager) error { return errors.New("no way") } }, "setting up the manager: no way"},
		"bad settings": {func(p *controllerruntime.Project) {
			p.Configure = func(context.Context, []byte) error { return errors.New("size") }
		}, "size"},
		"no configuration": {func(p *controllerruntime.Project) { p.Webhooks = nil }, "Project.Webhooks is needed"},
		"no webhook":       {func(p *controllerruntime.Project) { p.Webhooks = []byte("kind: Service\n") }, "Project.Webhooks: there is no webhook"},
		"not registered":   {func(p *controllerruntime.Project) { p.Setup = nothing }, "none is registered at its path /mutate--v1-configmap"},
		"no path": {func(p *controllerruntime.Project) {
			p.Webhooks = []byte("kind: MutatingWebhookConfiguration\nwebhooks: [{name: w, clientConfig: {url: 'https://x'}}]\n")
		}, "webhook w: clientConfig.service.path is needed"},
		"conditions": {func(p *controllerruntime.Project) {
			p.Webhooks = []byte("kind: MutatingWebhookConfiguration\nwebhooks: [{name: w, clientConfig: {service: {path: /p}}, matchConditions: [{name: c}]}]\n")
		}, "webhook w: matchConditions"},
		"a handler of another kind": {func(p *controllerruntime.Project) {
			p.Setup = func(mgr ctrl.Manager) error {
				mgr.GetWebhookServer().Register("/p", http.NotFoundHandler())
				return nil
			}
		}, "webhook /p is a http.HandlerFunc"},
		"conversion": {func(p *controllerruntime.Project) {
			p.Setup = func(mgr ctrl.Manager) error {
				mgr.GetWebhookServer().Register("/convert", http.NotFoundHandler())
				return nil
			}
		}, "conversion between versions"},
	} {
		t.Run(name, func(t *testing.T) {
			p := withWebhooks()
			tc.change(&p)
			err := controllerruntime.New(p).Configure(t.Context(), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestPoints(t *testing.T) {
	names := func(p controllerruntime.Project) (out []string) {
		for _, point := range controllerruntime.New(p).Points() {
			out = append(out, string(point.Name))
		}
		return out
	}
	p := project(func(ctrl.Manager) error { return nil })
	if got := names(p); !slices.Equal(got, []string{"controller"}) {
		t.Errorf("reconcilers alone: %v", got)
	}
	p.CRDs, p.Webhooks = fstest.MapFS{}, []byte(manifests)
	if got := names(p); !slices.Equal(got, []string{"controller", "resource", "admission"}) {
		t.Errorf("with types and webhooks: %v", got)
	}
}

func TestRules(t *testing.T) {
	rules := controllerruntime.Rules([]byte(`
kind: ClusterRole
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
kind: Role
rules: [{apiGroups: [""], resources: [events], verbs: [create]}]
---
kind: RoleBinding
`))
	if len(rules) != 2 || rules[0].Resources[0] != "pods" || rules[1].Verbs[0] != "create" {
		t.Errorf("%+v", rules)
	}
	for name, text := range map[string]string{"none": "kind: Service\n", "no YAML": "{"} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			controllerruntime.Rules([]byte(text))
		})
	}
}

// The host looks at what a plugin is before it is started, and asks its webhooks where it is not
// started at all.
func TestBeforeItRuns(t *testing.T) {
	p := withWebhooks()
	p.Setup = func(mgr ctrl.Manager) error {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.ConfigMap{}, "data.colour",
			func(client.Object) []string { return nil }); err != nil {
			return err
		}
		return ctrl.NewWebhookManagedBy(mgr, &corev1.ConfigMap{}).WithDefaulter(maps{}).WithValidator(reads{Reader: mgr.GetAPIReader()}).Complete()
	}
	impl := controllerruntime.New(p)
	if err := impl.Run(t.Context(), plugin.Env{}); err == nil || !strings.Contains(err.Error(), "has not been configured") {
		t.Errorf("run without settings: %v", err)
	}
	if err := impl.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := request(resource.Create, configMap("m", nil, nil), nil)
	if err := impl.Admission().Validate(ctx, r); err == nil || !strings.Contains(err.Error(), "a host that leads") {
		t.Errorf("a webhook that reads: %v", err)
	}
}

// reads is a validator that asks the API server.
type reads struct {
	maps
	client.Reader
}

func (v reads) ValidateCreate(ctx context.Context, m *corev1.ConfigMap) (admission.Warnings, error) {
	return nil, v.Get(ctx, client.ObjectKeyFromObject(m), &corev1.ConfigMap{})
}

// A plugin that is told its way to the API server reads on hosts that do not run it, by the
// manager's cache and beside it.
func TestWebhooksReadOnEveryHost(t *testing.T) {
	for name, reader := range map[string]func(ctrl.Manager) client.Reader{
		"by the cache":  func(m ctrl.Manager) client.Reader { return m.GetClient() },
		"by the server": ctrl.Manager.GetAPIReader,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(serveMaps))
			defer server.Close()
			p := withWebhooks()
			p.Setup = func(mgr ctrl.Manager) error {
				if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.ConfigMap{}, "data.colour",
					func(client.Object) []string { return nil }); err != nil {
					return err
				}
				return ctrl.NewWebhookManagedBy(mgr, &corev1.ConfigMap{}).WithDefaulter(maps{}).WithValidator(reads{Reader: reader(mgr)}).Complete()
			}
			impl := controllerruntime.New(p)
			env := plugin.Env{Config: &rest.Config{Host: server.URL}}
			if err := impl.Reach(t.Context(), env); err == nil {
				t.Error("reached before it was configured")
			}
			for range 2 { // settings may change
				if err := impl.Configure(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				if err := impl.Reach(t.Context(), env); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := impl.Admission().Validate(ctx, request(resource.Create, configMap("there", nil, nil), nil)); err != nil {
				t.Errorf("a webhook that reads: %v", err)
			}
			if err := impl.Admission().Validate(ctx, request(resource.Create, configMap("gone", nil, nil), nil)); err == nil || !strings.Contains(err.Error(), "gone") {
				t.Errorf("what is not there: %v", err)
			}
			// Its work begins with the same cache, where this host comes to lead.
			run, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- impl.Run(run, env) }()
			if err := impl.Admission().Validate(ctx, request(resource.Create, configMap("there", nil, nil), nil)); err != nil {
				t.Errorf("while it runs: %v", err)
			}
			stop()
			if err := <-ran; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}

// serveMaps is an API server with one config map.
func serveMaps(w http.ResponseWriter, r *http.Request) {
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch {
	case r.URL.Path == "/api":
		answer(map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case r.URL.Path == "/apis":
		answer(map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}})
	case r.URL.Path == "/api/v1":
		answer(map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{
			map[string]any{"name": "configmaps", "singularName": "configmap", "namespaced": true, "kind": "ConfigMap", "verbs": []string{"get", "list", "watch"}},
		}})
	case r.URL.Path == "/api/v1/configmaps" && r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		answer(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": http.StatusUnprocessableEntity})
	case r.URL.Path == "/api/v1/configmaps" && r.URL.Query().Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		_ = http.NewResponseController(w).Flush()
		select { // so that the server can be closed, as the cache goes on
		case <-r.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	case r.URL.Path == "/api/v1/configmaps":
		answer(map[string]any{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{configMap("there", nil, nil)}})
	case strings.HasSuffix(r.URL.Path, "/there"):
		answer(configMap("there", nil, nil))
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": http.StatusNotFound})
	}
}
