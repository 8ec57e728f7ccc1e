package apiserver_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// everyone is whom the X-User header says, root without one; "nobody" may do nothing.
type everyone struct{}

func (everyone) Authenticate(r *http.Request) (resource.User, bool, error) {
	name := r.Header.Get("X-User")
	if name == "" {
		name = "root"
	}
	return resource.User{Name: name}, name != "unknown", nil
}

func (everyone) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.User.Name != "nobody", "", nil
}

func parseSchema(text string) func() (*schema.Schema, error) {
	return func() (*schema.Schema, error) {
		s := &schema.Schema{}
		return s, json.Unmarshal([]byte(text), s)
	}
}

// types is a bundle of the tests' own types.
type types struct{ defs []*crd.Definition }

func (t types) Definitions() ([]*crd.Definition, error) { return t.defs, nil }

func (t types) Hooks(gr runtimeschema.GroupResource) any {
	switch gr.Resource {
	case "pods":
		return podHooks{}
	case "namespaces":
		return namespaceHooks{}
	case "echoes":
		return echo{}
	case "notes":
		return noteHooks{}
	case "doubts":
		return doubt{}
	}
	return nil
}

// podHooks give pods a grace period and a binding.
type podHooks struct{}

func (podHooks) GracePeriod(_ context.Context, _ *resource.Request, asked *int64) (int64, error) {
	if asked != nil {
		return *asked, nil
	}
	return 30, nil
}

func (podHooks) CreateSubresource(_ context.Context, r *resource.Request, parent map[string]any) (resource.SubresourceResult, error) {
	target, _ := r.Object["target"].(map[string]any)
	spec, _ := parent["spec"].(map[string]any)
	spec["nodeName"] = target["name"]
	return resource.SubresourceResult{}, nil
}

type namespaceHooks struct{}

func (namespaceHooks) Prepare(_ context.Context, r *resource.Request) error {
	if r.Old == nil {
		r.Object["spec"] = map[string]any{"finalizers": []any{"kubernetes"}}
		r.Object["status"] = map[string]any{"phase": "Active"}
	} else if r.Subresource == "" {
		r.Object["spec"] = r.Old["spec"]
	}
	return nil
}

// noteHooks convert between the two forms of notes, which share a bucket.
type noteHooks struct{}

func (noteHooks) Convert(note map[string]any, to runtimeschema.GroupVersionKind) (map[string]any, error) {
	from, into := "about", "regarding"
	if to.Group == "" {
		from, into = into, from
	}
	if v, ok := note[from]; ok {
		delete(note, from)
		note[into] = v
	}
	note["apiVersion"] = to.GroupVersion().String()
	return note, nil
}

// doubt is the hooks of a plugin that can't be asked.
type doubt struct{}

func (doubt) Validate(context.Context, *resource.Request) field.ErrorList {
	return field.ErrorList{{Type: field.ErrorTypeInternal, Field: "doubts.test.dev", Detail: "the stream broke"}}
}

type echo struct{}

func (echo) CreateVirtual(_ context.Context, r *resource.Request) (map[string]any, error) {
	r.Object["status"] = map[string]any{"user": r.User.Name}
	return r.Object, nil
}

const widgetSchema = `{"type":"object","required":["spec"],"properties":{
 "spec":{"type":"object","properties":{
  "size":{"type":"string","enum":["small","large"]},
  "replicas":{"type":"integer","minimum":0,"default":1},
  "tags":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"set"},
  "parts":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
   "items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"count":{"type":"integer"}}}}}},
 "status":{"type":"object","properties":{"phase":{"type":"string"},"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}`

const podSchema = `{"type":"object","properties":{
 "spec":{"type":"object","properties":{"nodeName":{"type":"string"},"hostNetwork":{"type":"boolean"},"restartPolicy":{"type":"string","default":"Always"},
  "containers":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"x-kubernetes-patch-strategy":"merge","x-kubernetes-patch-merge-key":"name",
   "items":{"type":"object","properties":{"name":{"type":"string"},"image":{"type":"string"},
    "env":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"x-kubernetes-patch-strategy":"merge","x-kubernetes-patch-merge-key":"name","items":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string"}}}},
    "resources":{"type":"object","properties":{"limits":{"type":"object","additionalProperties":{"x-kubernetes-int-or-string":true}},"requests":{"type":"object","additionalProperties":{"x-kubernetes-int-or-string":true}}}},
    "ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["containerPort","protocol"],"items":{"type":"object","properties":{"containerPort":{"type":"integer"},"protocol":{"type":"string","default":"TCP"}}}}}}}}},
 "status":{"type":"object","properties":{"phase":{"type":"string"}}}}}`

func definitions() []*crd.Definition {
	names := func(plural, singular, kind string, short ...string) crd.Names {
		return crd.Names{Plural: plural, Singular: singular, Kind: kind, ListKind: kind + "List", ShortNames: short}
	}
	note := func(target string) func() (*schema.Schema, error) {
		return parseSchema(`{"type":"object","properties":{"` + target + `":{"type":"object","properties":{"name":{"type":"string"}}},"text":{"type":"string"}}}`)
	}
	return []*crd.Definition{
		{Names: names("notes", "note", "Note"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			AllowCreateOnUpdate: true, ReturnDeletedObject: true, Generation: crd.GenerationAnnotations,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, SelectableFields: []string{".about.name"}, Schema: note("about"),
				SelectableAliases: map[string][]string{"subject": {".about.name", ".text"}},
				Columns:           []crd.Column{{Name: "Text", Type: "string", JSONPath: ".text"}}, CompleteColumns: true}}},
		{Group: "notes.test.dev", Names: names("notes", "note", "Note"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource, Bucket: "notes",
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, SelectableFields: []string{".regarding.name"}, Schema: note("regarding")}}},
		{Group: "test.dev", Names: names("doubts", "doubt", "Doubt"), Scope: crd.NamespaceScoped, Source: "plugin:doubter",
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Schema: parseSchema(`{"type":"object"}`)}}},
		{Names: names("namespaces", "namespace", "Namespace"), Scope: crd.ClusterScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Status: true,
				Subresources: []crd.Subresource{{Name: "finalize", Kind: "Namespace", Verbs: []string{"update"}}},
				Schema:       parseSchema(`{"type":"object","properties":{"spec":{"type":"object","properties":{"finalizers":{"type":"array","items":{"type":"string"}}}},"status":{"type":"object","properties":{"phase":{"type":"string"}}}}}`)}}},
		{Names: names("configmaps", "configmap", "ConfigMap", "cm"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true,
				Schema: parseSchema(`{"type":"object","properties":{"data":{"type":"object","additionalProperties":{"type":"string"}},"immutable":{"type":"boolean"}}}`)}}},
		{Names: names("pods", "pod", "Pod", "po"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Status: true, SelectableFields: []string{".spec.nodeName", ".spec.hostNetwork"},
				Subresources: []crd.Subresource{{Name: "binding", Kind: "Binding", Verbs: []string{"create"}}},
				Schema:       parseSchema(podSchema)}}},
		{Group: "test.dev", Names: names("widgets", "widget", "Widget", "w"), Scope: crd.NamespaceScoped, Source: "plugin:test",
			Versions: []crd.Version{
				{Name: "v1", Served: true, Storage: true, Status: true, Schema: parseSchema(widgetSchema),
					Scale:            &crd.Scale{SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas", LabelSelectorPath: ".status.selector"},
					Columns:          []crd.Column{{Name: "Size", Type: "string", JSONPath: ".spec.size"}, {Name: "Replicas", Type: "integer", JSONPath: ".spec.replicas"}},
					SelectableFields: []string{".spec.size"}},
				{Name: "v1beta1", Served: true, Status: true, Schema: parseSchema(widgetSchema), Deprecated: true},
			}},
		{Group: "test.dev", Names: names("echoes", "echo", "Echo"), Scope: crd.ClusterScoped, Source: "plugin:test", Virtual: true,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true,
				Schema: parseSchema(`{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`)}}},
	}
}

func goTypes(gvk runtimeschema.GroupVersionKind) (runtime.Object, bool) {
	if gvk.Group != "" || gvk.Version != "v1" {
		return nil, false
	}
	switch gvk.Kind {
	case "ConfigMap":
		return &corev1.ConfigMap{}, true
	case "Pod":
		return &corev1.Pod{}, true
	case "Namespace":
		return &corev1.Namespace{}, true
	case "Binding":
		return &corev1.Binding{}, true
	}
	return nil, false
}

// api is a server over a store of its own, with a client.
type api struct {
	t      testing.TB
	url    string
	client *http.Client
	server *apiserver.Server
	store  *store.Store
	reg    *registry.Registry
}

func newServer(t testing.TB, change ...func(*apiserver.Config)) (*apiserver.Server, *store.Store, *registry.Registry) {
	t.Helper()
	handler := slog.DiscardHandler
	if os.Getenv("PINTLE_TEST_LOG") != "" {
		handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	st, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	reg := registry.New()
	cfg := apiserver.Config{Store: st, Registry: reg, Authenticator: everyone{}, Authorizer: everyone{}, GoTypes: goTypes,
		NamespaceResource: runtimeschema.GroupVersionResource{Version: "v1", Resource: "namespaces"},
		Limits:            apiserver.Limits{BodyBytes: 1 << 20}, Logger: slog.New(handler)}
	for _, f := range change {
		f(&cfg)
	}
	s, err := apiserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []resource.Bundle{types{definitions()}, customresources.Bundle()} {
		if err := s.Install(b); err != nil {
			t.Fatal(err)
		}
	}
	return s, st, reg
}

func newAPI(t testing.TB, change ...func(*apiserver.Config)) *api {
	t.Helper()
	s, st, reg := newServer(t, change...)
	srv := httptest.NewServer(s)
	a := &api{t: t, url: srv.URL, client: srv.Client(), server: s, store: st, reg: reg}
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	a.must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"default"}}`)
	return a
}

type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (r answer) object(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("not JSON (%v): %s", err, r.body)
	}
	return m
}

// at returns the value at a dotted path.
func at(m any, path string) any {
	for _, k := range strings.Split(path, ".") {
		o, ok := m.(map[string]any)
		if !ok {
			return nil
		}
		m = o[k]
	}
	return m
}

// do sends a request; header are pairs.
func (a *api) do(method, path, body string, header ...string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "tester/1.0")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// must is do with the code that has to come back.
func (a *api) must(code int, method, path, body string, header ...string) answer {
	a.t.Helper()
	r := a.do(method, path, body, header...)
	if r.code != code {
		a.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.code, code, r.body)
	}
	return r
}

const (
	widgets = "/apis/test.dev/v1/namespaces/default/widgets"
	cms     = "/api/v1/namespaces/default/configmaps"
	pods    = "/api/v1/namespaces/default/pods"
)

// watch opens a watch and returns its events as they come.
func (a *api) watch(path string, header ...string) *events {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		a.t.Fatalf("watch %s: %d: %s", path, resp.StatusCode, b)
	}
	return &events{a.t, json.NewDecoder(resp.Body), resp, cancel}
}

type events struct {
	t      testing.TB
	dec    *json.Decoder
	resp   *http.Response
	cancel func()
}

type event struct {
	Type   string
	Object map[string]any
}

func (e event) name() string { s, _ := at(e.Object, "metadata.name").(string); return s }

func (e *events) next() event {
	e.t.Helper()
	var ev event
	if err := e.dec.Decode(&ev); err != nil {
		e.t.Fatalf("watch: %v", err)
	}
	return ev
}

// expect reads events that must be as given, such as "ADDED a".
func (e *events) expect(want ...string) (last event) {
	e.t.Helper()
	for _, w := range want {
		last = e.next()
		if got := last.Type + " " + last.name(); got != w {
			e.t.Fatalf("event %q, want %q: %v", got, w, last.Object)
		}
	}
	return last
}

// compactTree is a tree as text, to search in.
func compactTree(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
