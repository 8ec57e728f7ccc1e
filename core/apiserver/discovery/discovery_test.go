package discovery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/discovery"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
)

func definition(group, plural, kind string, scope crd.Scope, versions ...crd.Version) *crd.Definition {
	for i := range versions {
		versions[i].Served = true
		versions[i].Storage = i == 0
		versions[i].Schema = func() (*schema.Schema, error) { return &schema.Schema{Type: "object"}, nil }
	}
	return &crd.Definition{Group: group, Scope: scope, Versions: versions, Source: "crd:test",
		Names: crd.Names{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"}}
}

func types(t testing.TB) *registry.Registry {
	t.Helper()
	pods := definition("", "pods", "Pod", crd.NamespaceScoped, crd.Version{Name: "v1", Status: true, Subresources: []crd.Subresource{
		{Name: "log", Kind: "Pod", Verbs: []string{"get"}, Connect: true},
		{Name: "eviction", Group: "policy", Version: "v1", Kind: "Eviction", Verbs: []string{"create"}},
	}})
	pods.Source = registry.BuiltinSource
	pods.Names.ShortNames, pods.Names.Categories = []string{"po"}, []string{"all"}
	namespaces := definition("", "namespaces", "Namespace", crd.ClusterScoped, crd.Version{Name: "v1", Verbs: []string{"get", "create", "delete"}})
	namespaces.Source = registry.BuiltinSource
	deployments := definition("apps", "deployments", "Deployment", crd.NamespaceScoped, crd.Version{Name: "v1", Status: true, Scale: &crd.Scale{}})
	deployments.Source = registry.BuiltinSource
	deployments.Names.ShortNames = []string{"deploy"}
	reviews := definition("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", crd.ClusterScoped, crd.Version{Name: "v1"})
	reviews.Virtual, reviews.Source = true, registry.BuiltinSource
	widgets := definition("a.example.dev", "widgets", "Widget", crd.NamespaceScoped, crd.Version{Name: "v1beta1"}, crd.Version{Name: "v1"}, crd.Version{Name: "v2alpha1"})
	widgets.Names.ShortNames = []string{"deploy", "wd"} // takes none of another's names away
	r := registry.New()
	for _, d := range []*crd.Definition{pods, namespaces, deployments, reviews, widgets} {
		if err := r.Register(d); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func serve(t *testing.T, r *registry.Registry) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(discovery.New(discovery.Config{Types: r, ServerAddress: "192.0.2.1:6443"}))
	t.Cleanup(s.Close)
	return s
}

const aggregatedAccept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// client-go sees the same by either protocol.
func TestClientGo(t *testing.T) {
	s := serve(t, types(t))
	for name, change := range map[string]func(*clientdiscovery.DiscoveryClient){
		"aggregated": func(*clientdiscovery.DiscoveryClient) {},
		"legacy":     func(c *clientdiscovery.DiscoveryClient) { c.UseLegacyDiscovery = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := clientdiscovery.NewDiscoveryClientForConfigOrDie(&rest.Config{Host: s.URL})
			change(c)
			groups, lists, err := c.ServerGroupsAndResources()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, g := range groups {
				names = append(names, g.Name+"="+g.PreferredVersion.Version)
			}
			if got := strings.Join(names, " "); got != "=v1 apps=v1 authorization.k8s.io=v1 a.example.dev=v1" {
				t.Errorf("groups: %s", got)
			}
			found := map[string]metav1.APIResource{}
			for _, l := range lists {
				for _, r := range l.APIResources {
					found[l.GroupVersion+"/"+r.Name] = r
				}
			}
			for name, want := range map[string]metav1.APIResource{
				"v1/pods":                   {Kind: "Pod", Namespaced: true, SingularName: "pod", ShortNames: []string{"po"}, Categories: []string{"all"}, Verbs: []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}},
				"v1/pods/status":            {Kind: "Pod", Namespaced: true, Verbs: []string{"get", "patch", "update"}},
				"v1/pods/log":               {Kind: "Pod", Namespaced: true, Verbs: []string{"get"}},
				"v1/pods/eviction":          {Kind: "Eviction", Group: "policy", Version: "v1", Namespaced: true, Verbs: []string{"create"}},
				"v1/namespaces":             {Kind: "Namespace", SingularName: "namespace", Verbs: []string{"create", "delete", "get"}},
				"apps/v1/deployments/scale": {Kind: "Scale", Group: "autoscaling", Version: "v1", Namespaced: true, Verbs: []string{"get", "patch", "update"}},
				"authorization.k8s.io/v1/selfsubjectaccessreviews": {Kind: "SelfSubjectAccessReview", SingularName: "selfsubjectaccessreview", Verbs: []string{"create"}},
				"a.example.dev/v2alpha1/widgets":                   {Kind: "Widget", Namespaced: true, SingularName: "widget", ShortNames: []string{"deploy", "wd"}, Verbs: []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}},
			} {
				got := found[name]
				got.Name, got.StorageVersionHash = "", ""
				if want.SingularName == "" {
					got.SingularName = "" // client-go gives subresources that of their parent
				}
				if got.Group != "policy" && got.Group != "autoscaling" {
					got.Group, got.Version = "", "" // client-go fills these in for aggregated ones
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %+v, want %+v", name, got, want)
				}
			}
			if name == "aggregated" {
				return // client-go takes short names from a map there, in any order
			}
			mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c)), c, nil)
			kind, err := mapper.KindFor(runtimeschema.GroupVersionResource{Resource: "deploy"})
			if err != nil || kind.Kind != "Deployment" {
				t.Errorf("short name deploy leads to %v, %v", kind, err)
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	s := serve(t, types(t))
	for _, c := range []struct{ path, accept, contentType, want string }{
		{"/api", "", "application/json", `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"192.0.2.1:6443"}]}`},
		{"/apis/apps", "", "application/json", `{"kind":"APIGroup","apiVersion":"v1","name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}`},
		{"/apis/apps/", "*/*", "application/json", `"name":"apps"`},
		{"/apis/a.example.dev", "", "application/json", `"versions":[{"groupVersion":"a.example.dev/v1","version":"v1"},{"groupVersion":"a.example.dev/v1beta1","version":"v1beta1"},{"groupVersion":"a.example.dev/v2alpha1","version":"v2alpha1"}]`},
		{"/api/v1", "application/yaml", "application/yaml", "groupVersion: v1\nkind: APIResourceList"},
		{"/api/v1", "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf", "k8s\x00"},
		{"/apis", aggregatedAccept, aggregatedAccept, `"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2"`},
		{"/apis", aggregatedAccept + "x,application/json", "application/json", `"kind":"APIGroupList"`},
		{"/apis/apps/v1", aggregatedAccept + ",application/json", "application/json", `"kind":"APIResourceList"`},
		{"/apis/apps/v1", "", "application/json", `"storageVersionHash":"8aSe+NMegvE="`}, // upstream's
	} {
		t.Run(c.path+" "+c.accept, func(t *testing.T) {
			resp := apiservertest.Get(t, s.URL+c.path, "Accept", c.accept)
			if resp.Code != http.StatusOK || resp.Header.Get("Content-Type") != c.contentType || !strings.Contains(string(resp.Body), c.want) {
				t.Errorf("%d %s: %s", resp.Code, resp.Header.Get("Content-Type"), resp.Body)
			}
		})
	}
	for _, c := range []struct {
		path, accept string
		code         int
	}{
		{"/apis/none", "", 404}, {"/apis/apps/v2", "", 404}, {"/api/v2", "", 404}, {"/apis/apps/v1/deployments", "", 404}, {"/apis//v1", "", 404},
		{"/apis", "text/html", 406},
	} {
		resp := apiservertest.Get(t, s.URL+c.path, "Accept", c.accept)
		var status metav1.Status
		if err := json.Unmarshal(resp.Body, &status); err != nil || resp.Code != c.code || status.Code != int32(c.code) || status.Kind != "Status" {
			t.Errorf("%s %s: %d %s", c.path, c.accept, resp.Code, resp.Body)
		}
	}
}

func TestProtobufIsReadable(t *testing.T) {
	s := serve(t, types(t))
	resp := apiservertest.Get(t, s.URL+"/apis", "Accept", "application/vnd.kubernetes.protobuf")
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(resp.Body[4:]); err != nil {
		t.Fatal(err)
	}
	var list metav1.APIGroupList
	if err := list.Unmarshal(unknown.Raw); err != nil {
		t.Fatal(err)
	}
	if unknown.Kind != "APIGroupList" || len(list.Groups) != 3 {
		t.Errorf("%v %v", unknown.TypeMeta, list)
	}
}

// A document is made once for each state of the registry, and clients that have it are
// told so.
func TestETagFollowsTheRegistry(t *testing.T) {
	r := types(t)
	s := serve(t, r)
	first := apiservertest.Get(t, s.URL+"/apis", "Accept", aggregatedAccept)
	etag := first.Header.Get("ETag")
	if resp := apiservertest.Get(t, s.URL+"/apis", "Accept", aggregatedAccept, "If-None-Match", etag); resp.Code != http.StatusNotModified || len(resp.Body) > 0 {
		t.Errorf("%d %q", resp.Code, resp.Body)
	}
	if err := r.Register(definition("b.example.dev", "gadgets", "Gadget", crd.ClusterScoped, crd.Version{Name: "v1"})); err != nil {
		t.Fatal(err)
	}
	resp := apiservertest.Get(t, s.URL+"/apis", "Accept", aggregatedAccept, "If-None-Match", etag)
	if resp.Code != http.StatusOK || !strings.Contains(string(resp.Body), "gadgets") || resp.Header.Get("ETag") == etag {
		t.Errorf("%d %s", resp.Code, resp.Body)
	}
	r.Remove(runtimeschema.GroupResource{Group: "b.example.dev", Resource: "gadgets"})
	if resp := apiservertest.Get(t, s.URL+"/apis", "Accept", aggregatedAccept, "If-None-Match", etag); resp.Code != http.StatusNotModified {
		t.Errorf("the old document is not recognised: %d", resp.Code)
	}
	if resp := apiservertest.Get(t, s.URL+"/apis/b.example.dev/v1"); resp.Code != http.StatusNotFound {
		t.Errorf("a removed group: %d", resp.Code)
	}
}

func BenchmarkAggregated(b *testing.B) {
	r := types(b)
	for i := range 200 {
		if err := r.Register(definition(fmt.Sprintf("g%d.example.dev", i), "things", "Thing", crd.ClusterScoped, crd.Version{Name: "v1"})); err != nil {
			b.Fatal(err)
		}
	}
	h := discovery.New(discovery.Config{Types: r, ServerAddress: "192.0.2.1:6443"})
	req := httptest.NewRequest(http.MethodGet, "/apis", nil)
	req.Header.Set("Accept", aggregatedAccept)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		w.Body = nil
		h.ServeHTTP(w, req)
	}
}
