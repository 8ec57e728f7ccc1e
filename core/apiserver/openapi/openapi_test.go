package openapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/openapi"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

// components of the built-in type Gear.
var components = &schema.Components{Get: func(name string) *schema.Schema {
	switch name {
	case "io.k8s.api.core.v1.Gear":
		return &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{
			"apiVersion": {Type: "string"}, "kind": {Type: "string"},
			"metadata": {Ref: "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
			"spec":     {Ref: "io.k8s.api.core.v1.GearSpec"},
		}}
	case "io.k8s.api.core.v1.GearSpec":
		return &schema.Schema{Type: "object", Required: []string{"teeth"}, Properties: map[string]*schema.Schema{
			"teeth":  {Type: "array", Items: &schema.Schema{Ref: "io.k8s.api.core.v1.Tooth"}, PatchStrategy: "merge", PatchMergeKey: "name", ListType: "map", ListMapKeys: []string{"name"}},
			"within": {Ref: "io.k8s.api.core.v1.GearSpec"}, // of itself
			"lost":   {Ref: "io.k8s.api.core.v1.Lost"},     // nobody knows it
		}}
	case "io.k8s.api.core.v1.Tooth":
		return &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{"name": {Type: "string"}}}
	}
	return nil
}}

func widget(version string) *crd.Definition {
	return &crd.Definition{
		Group: "example.dev", Scope: crd.NamespaceScoped, Source: "crd:widgets.example.dev",
		Names: crd.Names{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
		Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Status: true, Scale: &crd.Scale{}, Schema: func() (*schema.Schema, error) {
			return &schema.Schema{Type: "object", Description: "Widget " + version, Properties: map[string]*schema.Schema{
				"spec": {Type: "object", Properties: map[string]*schema.Schema{"size": {Type: "integer", Format: "int32", Description: "How big."}}},
			}}, nil
		}}},
	}
}

func types(t testing.TB) *registry.Registry {
	t.Helper()
	r := registry.New()
	gear := &crd.Definition{
		Scope: crd.ClusterScoped, Source: registry.BuiltinSource,
		Names: crd.Names{Plural: "gears", Singular: "gear", Kind: "Gear", ListKind: "GearList"},
		Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Schema: func() (*schema.Schema, error) {
			return &schema.Schema{Ref: "io.k8s.api.core.v1.Gear", Root: components}, nil
		}, Subresources: []crd.Subresource{
			{Name: "proxy", Kind: "GearProxyOptions", Verbs: []string{"create", "get"}, Connect: true},
			{Name: "turn", Group: "policy", Version: "v1", Kind: "Turn", Verbs: []string{"create"}},
		}}},
	}
	review := &crd.Definition{
		Group: "authorization.k8s.io", Scope: crd.ClusterScoped, Source: registry.BuiltinSource, Virtual: true,
		Names:    crd.Names{Plural: "reviews", Singular: "review", Kind: "Review", ListKind: "ReviewList"},
		Versions: []crd.Version{{Name: "v1", Served: true, Storage: true, Schema: func() (*schema.Schema, error) { return &schema.Schema{Type: "object"}, nil }}},
	}
	for _, d := range []*crd.Definition{gear, review, widget("one")} {
		if err := r.Register(d); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func serve(t *testing.T, r *registry.Registry) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(openapi.New(openapi.Config{Types: r, Version: "v1.36.3+pintle", Describe: func(name string, s *schema.Schema) *schema.Schema {
		c := *s
		c.Description = "about " + name
		return &c
	}}))
	t.Cleanup(s.Close)
	return s
}

func root(s *httptest.Server) openapi3.Root {
	c := clientdiscovery.NewDiscoveryClientForConfigOrDie(&rest.Config{Host: s.URL})
	return openapi3.NewRoot(c.OpenAPIV3())
}

var (
	coreV1   = runtimeschema.GroupVersion{Version: "v1"}
	widgetV1 = runtimeschema.GroupVersion{Group: "example.dev", Version: "v1"}
)

// What kubectl reads from a document of version 3 is there.
func TestVersion3(t *testing.T) {
	s := serve(t, types(t))
	gvs, err := root(s).GroupVersions()
	if err != nil || len(gvs) != 3 {
		t.Fatalf("%v %v", gvs, err)
	}
	doc, err := root(s).GVSpec(widgetV1)
	if err != nil {
		t.Fatal(err)
	}
	complete(t, doc)
	w := doc.Components.Schemas["dev.example.v1.Widget"]
	if w == nil || w.Description != "Widget one" || w.Properties["spec"].Properties["size"].Description != "How big." {
		t.Fatalf("schema of Widget: %+v", w)
	}
	if list := doc.Components.Schemas["dev.example.v1.WidgetList"]; list == nil || len(list.Required) != 1 {
		t.Errorf("schema of WidgetList: %+v", list)
	}
	const base = "/apis/example.dev/v1/"
	for path, want := range map[string]string{
		base + "widgets": "get=list", base + "namespaces/{namespace}/widgets": "get=list post=post delete=deletecollection",
		base + "namespaces/{namespace}/widgets/{name}":        "get=get put=put patch=patch delete=delete",
		base + "namespaces/{namespace}/widgets/{name}/status": "get=get put=put patch=patch",
		base + "namespaces/{namespace}/widgets/{name}/scale":  "get=get put=put patch=patch",
	} {
		if got := actions(doc.Paths.Paths[path]); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	patch := doc.Paths.Paths[base+"namespaces/{namespace}/widgets/{name}"].Patch
	var gvk map[string]string
	if err := patch.Extensions.GetObject("x-kubernetes-group-version-kind", &gvk); err != nil || gvk["kind"] != "Widget" || gvk["group"] != "example.dev" {
		t.Errorf("kind of patch: %v %v", gvk, err)
	}
	if p := parameters(patch); p != "dryRun fieldManager fieldValidation force pretty" {
		t.Errorf("parameters of patch: %s", p)
	}
	if _, ok := patch.RequestBody.Content["application/strategic-merge-patch+json"]; ok {
		t.Error("a custom resource takes no strategic merge patch")
	}
	if p := doc.Paths.Paths[base+"namespaces/{namespace}/widgets"].Parameters; len(p) != 1 || p[0].Name != "namespace" || !p[0].Required {
		t.Errorf("path parameters: %+v", p)
	}
	if got := actions(mustSpec(t, s, runtimeschema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"}).Paths.Paths["/apis/authorization.k8s.io/v1/reviews"]); got != "post=post" {
		t.Errorf("virtual type: %q", got)
	}
}

func TestBuiltinTypeVersion3(t *testing.T) {
	s := serve(t, types(t))
	doc := mustSpec(t, s, coreV1)
	complete(t, doc)
	gear := doc.Components.Schemas["io.k8s.api.core.v1.Gear"]
	if gear == nil || gear.Description != "about io.k8s.api.core.v1.Gear" {
		t.Fatalf("schema of Gear: %+v", gear)
	}
	if c := doc.Paths.Paths["/api/v1/gears/{name}"].Patch.RequestBody.Content; c["application/strategic-merge-patch+json"] == nil || c["application/apply-patch+yaml"] == nil {
		t.Errorf("media types of patch: %v", c)
	}
	if got := actions(doc.Paths.Paths["/api/v1/gears/{name}/proxy/{path}"]); got != "get=connect post=connect" {
		t.Errorf("proxy: %q", got)
	}
	if got := actions(doc.Paths.Paths["/api/v1/gears/{name}/turn"]); got != "post=post" {
		t.Errorf("turn: %q", got)
	}
	// kubectl apply merges by what the document says.
	schemas := map[string]*spec.Schema{}
	for name, s := range doc.Components.Schemas {
		schemas[name] = s
	}
	meta := strategicpatch.PatchMetaFromOpenAPIV3{Schema: gear, SchemaList: schemas}
	out, err := strategicpatch.StrategicMergePatchUsingLookupPatchMeta(
		[]byte(`{"spec":{"teeth":[{"name":"a"}]}}`), []byte(`{"spec":{"teeth":[{"name":"b"}]}}`), meta)
	if err != nil || !strings.Contains(string(out), `"a"`) || !strings.Contains(string(out), `"b"`) {
		t.Errorf("merged: %s %v", out, err)
	}
}

func mustSpec(t *testing.T, s *httptest.Server, gv runtimeschema.GroupVersion) *spec3.OpenAPI {
	t.Helper()
	doc, err := root(s).GVSpec(gv)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// complete fails where a reference leads nowhere or an operation's id is there twice.
func complete(t *testing.T, doc *spec3.OpenAPI) {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			if id, ok := v["operationId"].(string); ok {
				if ids[id] {
					t.Errorf("operation %s is there twice", id)
				}
				ids[id] = true
			}
			for _, c := range v {
				visit(c)
			}
		case []any:
			for _, c := range v {
				visit(c)
			}
		}
	}
	visit(tree)
}

func actions(p *spec3.Path) string {
	if p == nil {
		return "missing"
	}
	var out []string
	for _, m := range []struct {
		name string
		op   *spec3.Operation
	}{{"get", p.Get}, {"put", p.Put}, {"post", p.Post}, {"patch", p.Patch}, {"delete", p.Delete}} {
		if m.op != nil {
			out = append(out, fmt.Sprintf("%s=%v", m.name, m.op.Extensions["x-kubernetes-action"]))
		}
	}
	return strings.Join(out, " ")
}

func parameters(op *spec3.Operation) string {
	var out []string
	for _, p := range op.Parameters {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func TestVersion2(t *testing.T) {
	s := serve(t, types(t))
	c := clientdiscovery.NewDiscoveryClientForConfigOrDie(&rest.Config{Host: s.URL})
	doc, err := c.OpenAPISchema() // protobuf
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range doc.Definitions.AdditionalProperties {
		names[d.Name] = true
	}
	if !names["dev.example.v1.Widget"] || !names["io.k8s.api.core.v1.Tooth"] {
		t.Errorf("definitions: %v", names)
	}
	resp := apiservertest.Get(t, s.URL+"/openapi/v2")
	var swagger spec.Swagger
	if err := json.Unmarshal(resp.Body, &swagger); err != nil || swagger.Swagger != "2.0" || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v %s", err, resp.Body[:min(len(resp.Body), 200)])
	}
	if swagger.Paths.Paths["/api/v1/gears/{name}"].Patch == nil {
		t.Error("no patch of gears")
	}
	if resp := apiservertest.Get(t, s.URL+"/openapi/v2", "If-None-Match", resp.Header.Get("ETag")); resp.Code != http.StatusNotModified {
		t.Errorf("again: %d", resp.Code)
	}
	if resp := apiservertest.Get(t, s.URL+"/openapi/v2", "Accept", "text/html"); resp.Code != http.StatusNotAcceptable {
		t.Errorf("HTML: %d", resp.Code)
	}
}

// Of a type whose objects may have any field, version 2 says that they are objects.
func TestOpenTypesVersion2(t *testing.T) {
	r := types(t)
	open := widget("open")
	open.Names = crd.Names{Plural: "opens", Singular: "open", Kind: "Open", ListKind: "OpenList"}
	open.Versions[0].Schema = func() (*schema.Schema, error) {
		return &schema.Schema{Type: "object", PreserveUnknownFields: true, Properties: map[string]*schema.Schema{"spec": {Type: "object"}}}, nil
	}
	if err := r.Register(open); err != nil {
		t.Fatal(err)
	}
	resp := apiservertest.Get(t, serve(t, r).URL+"/openapi/v2")
	var swagger spec.Swagger
	if err := json.Unmarshal(resp.Body, &swagger); err != nil {
		t.Fatal(err)
	}
	s := swagger.Definitions["dev.example.v1.Open"]
	kinds := s.Extensions["x-kubernetes-group-version-kind"]
	if len(s.Type) != 1 || s.Type[0] != "object" || len(s.Properties) > 0 || len(s.Extensions) != 1 || kinds == nil {
		t.Errorf("%+v", s)
	}
}

func TestMediaTypes(t *testing.T) {
	s := serve(t, types(t))
	for _, accept := range []string{"application/com.github.proto-openapi.spec.v3.v1.0+protobuf", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"} {
		resp := apiservertest.Get(t, s.URL+"/openapi/v3/api/v1", "Accept", accept)
		if got := resp.Header.Get("Content-Type"); got != "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" {
			t.Errorf("%s: %s", accept, got)
		}
		if err := proto.Unmarshal(resp.Body, &openapi_v3.Document{}); err != nil {
			t.Error(err)
		}
	}
	resp := apiservertest.Get(t, s.URL+"/openapi/v2", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	if err := proto.Unmarshal(resp.Body, &openapi_v2.Document{}); err != nil || resp.Code != http.StatusOK {
		t.Errorf("%d %v", resp.Code, err)
	}
}

func index(t *testing.T, s *httptest.Server) map[string]string {
	t.Helper()
	resp := apiservertest.Get(t, s.URL+"/openapi/v3")
	var doc struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(resp.Body, &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for id, e := range doc.Paths {
		out[id] = e.ServerRelativeURL
	}
	return out
}

// A URL with a hash is good for ever, and changes exactly with what the document is made of.
func TestHashes(t *testing.T) {
	r := types(t)
	s := serve(t, r)
	before := index(t, s)
	url := before["apis/example.dev/v1"]
	resp := apiservertest.Get(t, s.URL+url)
	if resp.Code != http.StatusOK || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v", resp.Code, resp.Header)
	}
	if resp := apiservertest.Get(t, s.URL+"/openapi/v3/apis/example.dev/v1", "If-None-Match", resp.Header.Get("ETag")); resp.Code != http.StatusNotModified {
		t.Errorf("without a hash, unchanged: %d", resp.Code)
	}
	if resp := apiservertest.Get(t, s.URL+"/openapi/v3/apis/none/v1"); resp.Code != http.StatusNotFound {
		t.Errorf("unknown group: %d", resp.Code)
	}
	if got := index(t, serve(t, types(t))); got["apis/example.dev/v1"] != url || got["api/v1"] != before["api/v1"] {
		t.Error("another server with the same types has other hashes")
	}
	if err := r.Replace(widget("two")); err != nil {
		t.Fatal(err)
	}
	after := index(t, s)
	if after["apis/example.dev/v1"] == url || after["api/v1"] != before["api/v1"] {
		t.Errorf("before %v, after %v", before, after)
	}
	resp = apiservertest.Get(t, s.URL+url)
	if resp.Code != http.StatusMovedPermanently || resp.Header.Get("Location") != after["apis/example.dev/v1"] {
		t.Errorf("old hash: %d %s", resp.Code, resp.Header.Get("Location"))
	}
	if resp := apiservertest.Get(t, s.URL+after["apis/example.dev/v1"]); !strings.Contains(string(resp.Body), "Widget two") {
		t.Error("the new document is not the new one")
	}
}

// Documents are let go when nobody asks for a while, and made again.
func TestDocumentsAreLetGo(t *testing.T) {
	made := 0
	r := types(t)
	h := openapi.New(openapi.Config{Types: r, IdleAfter: time.Millisecond, Describe: func(name string, s *schema.Schema) *schema.Schema {
		if name == "io.k8s.api.core.v1.Gear" {
			made++
		}
		return s
	}})
	deadline := time.Now().Add(10 * time.Second)
	for made < 3 && time.Now().Before(deadline) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi/v3/api/v1", nil))
		if w.Code != 200 {
			t.Fatal(w.Code)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if made < 3 {
		t.Errorf("made %d times", made)
	}
	made = 0
	h = openapi.New(openapi.Config{Types: r, Describe: func(name string, s *schema.Schema) *schema.Schema {
		if name == "io.k8s.api.core.v1.Gear" {
			made++
		}
		return s
	}})
	for range 5 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/openapi/v3/api/v1", nil))
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
}
