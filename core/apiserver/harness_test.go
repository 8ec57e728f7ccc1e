package apiserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// everyone is whom the X-User header says, root without one; "nobody" may do nothing.
type everyone struct{}

func (everyone) Authenticate(r *http.Request) (resource.User, bool, error) {
	name := apiservertest.UserName(r)
	return resource.User{Name: name}, name != "unknown", nil
}

func (everyone) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.User.Name != "nobody", "", nil
}

// types are the tests' own.
func types() apiservertest.Bundle {
	return apiservertest.Bundle{Types: definitions(), HookOf: map[string]any{
		"pods": podHooks{}, "namespaces": namespaceHooks{}, "echoes": echo{}, "notes": noteHooks{}, "doubts": doubt{},
	}}
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
	names, parse := apiservertest.Names, apiservertest.Schema
	note := func(target string) func() (*schema.Schema, error) {
		return parse(`{"type":"object","properties":{"` + target + `":{"type":"object","properties":{"name":{"type":"string"}}},"text":{"type":"string"}}}`)
	}
	return []*crd.Definition{
		{Names: names("notes", "Note"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			AllowCreateOnUpdate: true, ReturnDeletedObject: true, Generation: crd.GenerationAnnotations,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, SelectableFields: []string{".about.name"}, Schema: note("about"),
				SelectableAliases: map[string][]string{"subject": {".about.name", ".text"}},
				Columns:           []crd.Column{{Name: "Text", Type: "string", JSONPath: ".text"}}, CompleteColumns: true}}},
		{Group: "notes.test.dev", Names: names("notes", "Note"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource, Bucket: "notes",
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, SelectableFields: []string{".regarding.name"}, Schema: note("regarding")}}},
		{Group: "test.dev", Names: names("doubts", "Doubt"), Scope: crd.NamespaceScoped, Source: "plugin:doubter",
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Schema: parse(`{"type":"object"}`)}}},
		{Names: names("namespaces", "Namespace"), Scope: crd.ClusterScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Status: true,
				Subresources: []crd.Subresource{{Name: "finalize", Kind: "Namespace", Verbs: []string{"update"}}},
				Schema:       parse(`{"type":"object","properties":{"spec":{"type":"object","properties":{"finalizers":{"type":"array","items":{"type":"string"}}}},"status":{"type":"object","properties":{"phase":{"type":"string"}}}}}`)}}},
		{Names: names("configmaps", "ConfigMap", "cm"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true,
				Schema: parse(`{"type":"object","properties":{"data":{"type":"object","additionalProperties":{"type":"string"}},"immutable":{"type":"boolean"}}}`)}}},
		{Names: names("pods", "Pod", "po"), Scope: crd.NamespaceScoped, Source: registry.BuiltinSource,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Status: true, SelectableFields: []string{".spec.nodeName", ".spec.hostNetwork"},
				Subresources: []crd.Subresource{{Name: "binding", Kind: "Binding", Verbs: []string{"create"}}},
				Schema:       parse(podSchema)}}},
		{Group: "test.dev", Names: names("widgets", "Widget", "w"), Scope: crd.NamespaceScoped, Source: "plugin:test",
			Versions: []crd.Version{
				{Name: "v1", Served: true, Storage: true, Status: true, Schema: parse(widgetSchema),
					Scale:            &crd.Scale{SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas", LabelSelectorPath: ".status.selector"},
					Columns:          []crd.Column{{Name: "Size", Type: "string", JSONPath: ".spec.size"}, {Name: "Replicas", Type: "integer", JSONPath: ".spec.replicas"}},
					SelectableFields: []string{".spec.size"}},
				{Name: "v1beta1", Served: true, Status: true, Schema: parse(widgetSchema), Deprecated: true},
			}},
		{Group: "test.dev", Names: names("echoes", "Echo"), Scope: crd.ClusterScoped, Source: "plugin:test", Virtual: true,
			Versions: []crd.Version{{Name: "v1", Served: true, Storage: true,
				Schema: parse(`{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`)}}},
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
	*apiservertest.Server
	t      testing.TB
	server *apiserver.Server
	store  *store.Store
	reg    *registry.Registry
}

// newServer starts a server without objects.
func newServer(t testing.TB, change ...func(*apiserver.Config)) *api {
	t.Helper()
	st, reg := storetest.Open(t), registry.New()
	cfg := apiserver.Config{Store: st, Registry: reg, Authenticator: everyone{}, Authorizer: everyone{}, GoTypes: goTypes,
		Limits: apiserver.Limits{BodyBytes: 1 << 20}}
	for _, f := range change {
		f(&cfg)
	}
	s := apiservertest.Start(t, cfg, types(), customresources.Bundle())
	return &api{s, t, s.API, st, reg}
}

// newAPI starts a server with the namespace "default".
func newAPI(t testing.TB, change ...func(*apiserver.Config)) *api {
	t.Helper()
	a := newServer(t, change...)
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
func at(tree any, path string) any { return apiservertest.At(tree, path) }

// do sends a request; header are pairs.
func (a *api) do(method, path, body string, header ...string) answer {
	a.t.Helper()
	r := a.Do(method, path, body, header...)
	return answer{r.Code, r.Header, r.Body}
}

// must is do with the code that has to come back.
func (a *api) must(code int, method, path, body string, header ...string) answer {
	a.t.Helper()
	r := a.Must(code, method, path, body, header...)
	return answer{r.Code, r.Header, r.Body}
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
	resp, err := a.HTTP.Do(a.Request(ctx, http.MethodGet, path, "", header...))
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
