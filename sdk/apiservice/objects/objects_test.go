package objects_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/sdk/apiservice/objects"
)

// Gauge is an object with data.
type Gauge struct {
	v1.TypeMeta   `json:",inline"`
	v1.ObjectMeta `json:"metadata"`
	Value         int64 `json:"value"`
}

func (g *Gauge) DeepCopyObject() runtime.Object {
	out := *g
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func gauge(name string, value int64, labels ...string) *Gauge {
	g := &Gauge{ObjectMeta: v1.ObjectMeta{Namespace: "default", Name: name}, Value: value}
	for _, l := range labels {
		g.Labels = map[string]string{l: "true"}
	}
	return g
}

var (
	gv  = schema.GroupVersion{Group: "gauges.example.dev", Version: "v1"}
	gvr = gv.WithResource("gauges")
)

const base = "/apis/gauges.example.dev/v1/namespaces/default/gauges"

func newStore(t *testing.T) (*objects.Store, string) {
	t.Helper()
	var s *objects.Store
	s = objects.NewStore(objects.Type{
		Kind: "Gauge", Plural: "gauges", ShortNames: []string{"ga"}, Namespaced: true,
		Schema:  []byte(`{"description":"A gauge.","properties":{"value":{"type":"integer","description":"What it shows."}}}`),
		Columns: []v1.TableColumnDefinition{{Name: "Value", Type: "integer"}},
		Cells:   func(o objects.Object) []any { return []any{o.(*Gauge).Value} },
		Delete: func(_ context.Context, o objects.Object) error {
			s.Remove(o.GetNamespace(), o.GetName())
			return nil
		},
	})
	h, err := objects.Handler(gv, s)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return s, server.URL
}

func ask(t *testing.T, method, url, accept string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return resp.StatusCode
}

func TestRequests(t *testing.T) {
	s, url := newStore(t)
	if err := s.Replace([]objects.Object{gauge("a", 1, "hot"), gauge("b", 2)}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, accept string
		code                 int
		want                 string
	}{
		{"GET", base, "", 200, "GaugeList a b"},
		{"GET", "/apis/gauges.example.dev/v1/gauges", "", 200, "GaugeList a b"},
		{"GET", "/apis/gauges.example.dev/v1/namespaces/other/gauges", "", 200, "GaugeList"},
		{"GET", base + "?labelSelector=hot", "", 200, "GaugeList a"},
		{"GET", base + "?fieldSelector=metadata.name%3Db", "", 200, "GaugeList b"},
		{"GET", base + "?fieldSelector=value%3D1", "", 400, "field label not supported: value"},
		{"GET", base + "?labelSelector=%21%21", "", 400, "unable to parse requirement"},
		{"GET", base, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", 200, "PartialObjectMetadataList a b"},
		{"GET", base, "application/json;as=Table;v=v1beta7;g=meta.k8s.io,application/json", 200, "GaugeList a b"},
		{"GET", base + "/a", "", 200, "Gauge"},
		{"GET", base + "/c", "", 404, `gauges.gauges.example.dev "c" not found`},
		{"POST", base, "", 405, "create is not supported on resources of kind"},
		{"GET", "/apis/gauges.example.dev/v1/meters", "", 404, "the server could not find the requested resource"},
		{"GET", base + "/a/status", "", 404, "the server could not find the requested resource"},
		{"GET", base + "?watch=1&resourceVersion=1", "", 410, "too old resource version: 1"},
		{"GET", base + "?watch=1&resourceVersion=x", "", 400, `invalid resource version "x"`},
		{"DELETE", base + "/b", "", 200, "Gauge"},
		{"GET", base, "", 200, "GaugeList a"},
	} {
		var got struct {
			Kind, Message string
			Items         []v1.PartialObjectMetadata
		}
		code := ask(t, tc.method, url+tc.path, tc.accept, &got)
		text := got.Kind
		for _, o := range got.Items {
			text += " " + o.Name
		}
		if code >= 400 {
			text = got.Message
		}
		if ok := text == tc.want || code >= 400 && strings.Contains(strings.ToLower(text), strings.ToLower(tc.want)); code != tc.code || !ok {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, code, text, tc.code, tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	s, url := newStore(t)
	if err := s.Set(gauge("a", 7)); err != nil {
		t.Fatal(err)
	}
	for include, want := range map[string]string{"": "PartialObjectMetadata", "Object": "Gauge", "None": ""} {
		var table v1.Table
		ask(t, "GET", url+base+"?includeObject="+include, "application/json;as=Table;v=v1;g=meta.k8s.io", &table)
		var o v1.PartialObjectMetadata
		if raw := table.Rows[0].Object.Raw; len(raw) > 0 {
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatal(err)
			}
		}
		if o.Kind != want || fmt.Sprint(table.Rows[0].Cells) != "[a 7]" || len(table.ColumnDefinitions) != 2 || table.ResourceVersion == "" {
			t.Errorf("includeObject=%s: %+v with %q", include, table, o.Kind)
		}
	}
}

func TestDiscovery(t *testing.T) {
	_, url := newStore(t)
	d, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: url})
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.ServerResourcesForGroupVersion(gv.String())
	if err != nil || len(list.APIResources) != 1 || list.APIResources[0].Verbs.String() != "[delete get list watch]" {
		t.Errorf("%+v, %v", list, err)
	}
	paths, err := d.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := paths["apis/gauges.example.dev/v1"].Schema("application/json")
	for _, want := range []string{`"dev.example.gauges.v1.Gauge"`, `"What it shows."`, `"x-kubernetes-group-version-kind":[{"group":"gauges.example.dev","kind":"Gauge","version":"v1"}]`} {
		if err != nil || !strings.Contains(string(doc), want) {
			t.Errorf("no %s in %s, %v", want, doc, err)
		}
	}
	if _, err := objects.Handler(gv, objects.NewStore(objects.Type{Kind: "X", Plural: "xs", Schema: []byte("{")})); err == nil {
		t.Error("a schema that is not JSON is taken")
	}
}

// An informer sees each change, also when it comes in by another way than it began.
func TestInformer(t *testing.T) {
	s, url := newStore(t)
	if err := s.Set(gauge("a", 1)); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(&rest.Config{Host: url})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 16)
	tell := func(what string, o any) {
		u := o.(*unstructured.Unstructured)
		value, _, _ := unstructured.NestedInt64(u.Object, "value")
		seen <- fmt.Sprintf("%s %s %d", what, u.GetName(), value)
	}
	api := client.Resource(gvr)
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o v1.ListOptions) (runtime.Object, error) { return api.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o v1.ListOptions) (watch.Interface, error) { return api.Watch(ctx, o) },
	}, &unstructured.Unstructured{}, 0, nil)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { tell("added", o) }, UpdateFunc: func(_, o any) { tell("updated", o) }, DeleteFunc: func(o any) { tell("deleted", o) },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); informer.RunWithContext(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	expect := func(want string) {
		t.Helper()
		late := time.NewTimer(20 * time.Second)
		defer late.Stop()
		select {
		case got := <-seen:
			if got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		case <-late.C:
			t.Fatalf("%s did not come", want)
		}
	}
	expect("added a 1")
	for _, step := range []struct {
		all  []objects.Object
		want string
	}{
		{[]objects.Object{gauge("a", 2)}, "updated a 2"},
		{[]objects.Object{gauge("a", 2), gauge("b", 3)}, "added b 3"}, // a is as it was
		{[]objects.Object{gauge("b", 3)}, "deleted a 2"},
	} {
		if err := s.Replace(step.all); err != nil {
			t.Fatal(err)
		}
		expect(step.want)
	}
}

// An object that comes into a selection or leaves it is new there, or gone; a watch that fell
// too far behind is told so.
func TestWatchThroughASelector(t *testing.T) {
	s, url := newStore(t)
	if err := s.Set(gauge("a", 1, "hot")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(url + base + "?watch=1&labelSelector=hot&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	last := ""
	next := func(want string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var e struct {
			Type   string
			Object v1.PartialObjectMetadata
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(e.Type + " " + e.Object.Name + " " + e.Object.Annotations[v1.InitialEventsAnnotationKey]); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if e.Object.ResourceVersion <= last && e.Type != "BOOKMARK" {
			t.Fatalf("revision %s after %s", e.Object.ResourceVersion, last)
		}
		last = e.Object.ResourceVersion
	}
	next("ADDED a")
	next("BOOKMARK  true")
	for _, step := range []struct {
		o    *Gauge
		want string
	}{{gauge("a", 2, "hot"), "MODIFIED a"}, {gauge("a", 2), "DELETED a"}, {gauge("b", 1), ""}, {gauge("b", 1, "hot"), "ADDED b"}} {
		if err := s.Set(step.o); err != nil {
			t.Fatal(err)
		}
		if step.want != "" {
			next(step.want)
		}
	}
	from := last
	for n := range int64(2000) {
		if err := s.Set(gauge("c", n)); err != nil {
			t.Fatal(err)
		}
	}
	var status v1.Status
	if code := ask(t, "GET", url+base+"?watch=1&resourceVersion="+from, "", &status); code != 410 || status.Reason != v1.StatusReasonExpired {
		t.Errorf("%d %+v", code, status)
	}
}

func TestStoreRefuses(t *testing.T) {
	s, _ := newStore(t)
	for _, o := range []*Gauge{{}, {ObjectMeta: v1.ObjectMeta{Name: "x"}}} {
		if err := s.Set(o); err == nil {
			t.Errorf("%+v is taken", o.ObjectMeta)
		}
	}
}
