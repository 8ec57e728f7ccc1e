package apiserver_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/store"
)

func rv(t testing.TB, r answer) string {
	t.Helper()
	s, _ := at(r.object(t), "metadata.resourceVersion").(string)
	return s
}

func TestWatch(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", cms, `{"metadata":{"name":"old"}}`)
	list := a.must(200, "GET", cms, "")
	w := a.watch(cms + "?watch=true&resourceVersion=" + rv(t, list))
	a.must(201, "POST", cms, `{"metadata":{"name":"a"}}`)
	a.must(200, "PUT", cms+"/a", `{"metadata":{"name":"a"},"data":{"k":"v"}}`)
	a.must(200, "DELETE", cms+"/a", "")
	a.must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"other"}}`)
	a.must(201, "POST", "/api/v1/namespaces/other/configmaps", `{"metadata":{"name":"elsewhere"}}`)
	a.must(201, "POST", cms, `{"metadata":{"name":"b"}}`)
	deleted := w.expect("ADDED a", "MODIFIED a", "DELETED a")
	if at(deleted.Object, "data.k") != "v" {
		t.Errorf("the last state is not in the deletion: %v", deleted.Object)
	}
	w.expect("ADDED b")

	// From the deletion's own revision on, only b is new.
	again := a.watch(cms + "?watch=true&resourceVersion=" + at(deleted.Object, "metadata.resourceVersion").(string))
	again.expect("ADDED b")
	// Without a revision the present state comes first.
	a.watch(cms+"?watch=1").expect("ADDED b", "ADDED old")
	// By the name in the path, which only the old form has, and across namespaces.
	a.watch("/api/v1/watch/namespaces/default/configmaps/old").expect("ADDED old")
	a.watch("/api/v1/configmaps?watch=true").expect("ADDED b", "ADDED old", "ADDED elsewhere")
}

func TestWatchSelectors(t *testing.T) {
	a := newAPI(t)
	w := a.watch(widgets + "?watch=true&labelSelector=a%3D1&fieldSelector=spec.size%3Dsmall")
	label := func(value string) {
		a.must(200, "PATCH", widgets+"/w", `{"metadata":{"labels":{"a":`+value+`}}}`, "Content-Type", "application/merge-patch+json")
	}
	a.must(201, "POST", widgets, widget("w", ""))
	label(`"1"`)
	w.expect("ADDED w")
	label(`"2"`)
	left := w.expect("DELETED w")
	if at(left.Object, "metadata.labels.a") != "1" || at(left.Object, "metadata.resourceVersion") != rv(t, a.must(200, "GET", widgets+"/w", "")) {
		t.Errorf("an object that leaves is shown as it was, at the new revision: %v", left.Object)
	}
	label(`"1"`)
	w.expect("ADDED w")
	a.must(200, "PATCH", widgets+"/w", `{"spec":{"size":"large"}}`, "Content-Type", "application/merge-patch+json")
	w.expect("DELETED w")
	a.must(200, "PATCH", widgets+"/w", `{"spec":{"size":"small"}}`, "Content-Type", "application/merge-patch+json")
	w.expect("ADDED w")
	a.must(200, "DELETE", widgets+"/w", "")
	w.expect("DELETED w")
}

func TestWatchListAndBookmarks(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", cms, `{"metadata":{"name":"a"}}`)
	a.must(201, "POST", cms, `{"metadata":{"name":"b"}}`)
	w := a.watch(cms + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	w.expect("ADDED a", "ADDED b")
	mark := w.next()
	annotations, _ := at(mark.Object, "metadata.annotations").(map[string]any)
	if mark.Type != "BOOKMARK" || annotations["k8s.io/initial-events-end"] != "true" || mark.Object["kind"] != "ConfigMap" {
		t.Errorf("bookmark %v", mark)
	}
	a.must(201, "POST", cms, `{"metadata":{"name":"c"}}`)
	w.expect("ADDED c")

	// A watch that ends in peace tells how far it has come.
	short := a.watch(cms + "?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=" + rv(t, a.must(200, "GET", cms, "")))
	o := a.must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"n"}}`)
	if last := short.next(); last.Type != "BOOKMARK" || at(last.Object, "metadata.resourceVersion") != rv(t, o) {
		t.Errorf("last event %v", last)
	}
	var ev event
	if err := short.dec.Decode(&ev); err != io.EOF {
		t.Errorf("after the end: %v %v", ev, err)
	}
	for _, bad := range []string{"sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"} {
		a.must(422, "GET", cms+"?watch=true&"+bad, "")
	}
}

// compacted is a store that has forgotten its history.
type compacted struct{ *store.Store }

func (compacted) Watch(context.Context, store.Key, uint64) (*store.Watcher, error) {
	return nil, store.ErrCompacted
}

func (c compacted) List(ctx context.Context, p store.Key, o store.ListOptions) (store.Snapshot, error) {
	if o.Revision != 0 {
		return store.Snapshot{}, store.ErrCompacted
	}
	return c.Store.List(ctx, p, o)
}

func TestExpired(t *testing.T) {
	a := newAPI(t, func(c *apiserver.Config) { c.Store = compacted{c.Store.(*store.Store)} })
	for i := range 3 {
		a.must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"c%d"}}`, i))
	}
	ev := a.watch(cms + "?watch=true&resourceVersion=1").next()
	if ev.Type != "ERROR" || ev.Object["code"] != 410.0 || ev.Object["reason"] != "Expired" {
		t.Errorf("%v", ev)
	}
	page := a.must(200, "GET", cms+"?limit=2", "").object(t)
	r := a.must(410, "GET", cms+"?limit=2&continue="+at(page, "metadata.continue").(string), "").object(t)
	next, _ := at(r, "metadata.continue").(string)
	if r["reason"] != "Expired" || next == "" {
		t.Fatalf("%v", r)
	}
	// The token that comes with the error goes on, without the promise of one snapshot.
	rest := a.must(200, "GET", cms+"?limit=2&continue="+next, "").object(t)
	if items := rest["items"].([]any); len(items) != 1 || at(items[0], "metadata.name") != "c2" {
		t.Errorf("%v", rest)
	}
	a.must(410, "GET", cms+"?resourceVersion=1&resourceVersionMatch=Exact", "")
}

func TestListPagesAreOneSnapshot(t *testing.T) {
	a := newAPI(t)
	for i := range 7 {
		a.must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"c%d","labels":{"even":"%t"}}}`, i, i%2 == 0))
	}
	page := a.must(200, "GET", cms+"?limit=3", "").object(t)
	if at(page, "metadata.remainingItemCount") != 4.0 || page["kind"] != "ConfigMapList" {
		t.Errorf("first page %v", page["metadata"])
	}
	a.must(200, "DELETE", cms+"/c5", "")
	a.must(201, "POST", cms, `{"metadata":{"name":"c9"}}`)
	var names []string
	first := at(page, "metadata.resourceVersion")
	for {
		if at(page, "metadata.resourceVersion") != first {
			t.Error("pages have different revisions")
		}
		for _, o := range page["items"].([]any) {
			names = append(names, at(o, "metadata.name").(string))
		}
		next, _ := at(page, "metadata.continue").(string)
		if next == "" {
			break
		}
		page = a.must(200, "GET", cms+"?limit=3&continue="+next, "").object(t)
	}
	if got := strings.Join(names, " "); got != "c0 c1 c2 c3 c4 c5 c6" {
		t.Errorf("pages: %s", got)
	}
	var even []string
	query := "?limit=2&labelSelector=even%3Dtrue"
	for token := ""; ; {
		q := query
		if token != "" {
			q += "&continue=" + token
		}
		page = a.must(200, "GET", cms+q, "").object(t)
		for _, o := range page["items"].([]any) {
			even = append(even, at(o, "metadata.name").(string))
		}
		if token, _ = at(page, "metadata.continue").(string); token == "" {
			break
		}
	}
	if got := strings.Join(even, " "); got != "c0 c2 c4 c6" {
		t.Errorf("selected pages: %s", got)
	}
	exact := a.must(200, "GET", cms+"?resourceVersionMatch=Exact&resourceVersion="+first.(string), "").object(t)
	if n := len(exact["items"].([]any)); n != 7 {
		t.Errorf("%d at the old revision", n)
	}
}

const tableAccept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

func TestTables(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, widget("w", `,"replicas":3`))
	o := a.must(200, "GET", widgets, "", "Accept", tableAccept).object(t)
	b, _ := json.Marshal(o)
	var table metav1.Table
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range table.ColumnDefinitions {
		columns = append(columns, c.Name)
	}
	if fmt.Sprint(columns) != "[Name Size Replicas Age]" || o["kind"] != "Table" {
		t.Errorf("columns %v", columns)
	}
	if row := table.Rows[0]; fmt.Sprint(row.Cells[:3]) != "[w small 3]" || at(o["rows"].([]any)[0], "object.kind") != "PartialObjectMetadata" {
		t.Errorf("row %v", row)
	}
	a.must(200, "GET", widgets+"/w", "", "Accept", tableAccept)
	w := a.watch(widgets+"?watch=true", "Accept", tableAccept)
	a.must(200, "PATCH", widgets+"/w", `{"spec":{"replicas":4}}`, "Content-Type", "application/merge-patch+json")
	first, second := w.next(), w.next()
	if first.Object["columnDefinitions"] == nil || second.Object["columnDefinitions"] != nil || second.Object["kind"] != "Table" {
		t.Errorf("only the first table has columns: %v %v", first, second)
	}
	partial := a.must(200, "GET", widgets, "", "Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").object(t)
	items := partial["items"].([]any)
	if partial["kind"] != "PartialObjectMetadataList" || at(items[0], "metadata.name") != "w" || at(items[0], "spec") != nil {
		t.Errorf("metadata: %v", partial)
	}
	yml := a.must(200, "GET", widgets+"/w", "", "Accept", "application/yaml")
	if !strings.Contains(string(yml.body), "\n  name: w\n") {
		t.Errorf("yaml: %s", yml.body)
	}
	created := a.must(201, "POST", widgets, "metadata: {name: yam}\nspec: {size: large}\n", "Content-Type", "application/yaml").object(t)
	if at(created, "spec.size") != "large" {
		t.Errorf("from yaml: %v", created)
	}
}

const protobufType = "application/vnd.kubernetes.protobuf"

// unwrap decodes Kubernetes' protobuf.
func unwrap(t *testing.T, data []byte, into interface{ Unmarshal([]byte) error }) runtime.TypeMeta {
	t.Helper()
	if string(data[:4]) != "k8s\x00" {
		t.Fatalf("no prefix: %q", data)
	}
	var u runtime.Unknown
	if err := u.Unmarshal(data[4:]); err != nil {
		t.Fatal(err)
	}
	if err := into.Unmarshal(u.Raw); err != nil {
		t.Fatal(err)
	}
	return u.TypeMeta
}

func TestProtobuf(t *testing.T) {
	a := newAPI(t)
	cm := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"a": "b"}}
	raw, err := cm.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Raw: raw}
	body, err := u.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	accept := protobufType + ",application/json"
	r := a.must(201, "POST", cms, "k8s\x00"+string(body), "Content-Type", protobufType, "Accept", accept)
	var got corev1.ConfigMap
	if tm := unwrap(t, r.body, &got); tm.Kind != "ConfigMap" || got.Data["a"] != "b" || got.UID == "" {
		t.Errorf("create: %v %v", tm, got)
	}
	r = a.must(200, "GET", cms, "", "Accept", accept)
	var list corev1.ConfigMapList
	if tm := unwrap(t, r.body, &list); tm.Kind != "ConfigMapList" || len(list.Items) != 1 || list.ResourceVersion == "" || list.Items[0].Name != "c" {
		t.Errorf("list: %v %v", tm, list)
	}
	r = a.must(200, "GET", cms+"/c", "", "Accept", protobufType+";as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	var partial metav1.PartialObjectMetadata
	if tm := unwrap(t, r.body, &partial); tm.Kind != "PartialObjectMetadata" || partial.Name != "c" {
		t.Errorf("partial: %v %v", tm, partial)
	}
	r = a.must(404, "GET", cms+"/none", "", "Accept", protobufType)
	var st metav1.Status
	if tm := unwrap(t, r.body, &st); tm.Kind != "Status" || st.Code != 404 {
		t.Errorf("status: %v %v", tm, st)
	}
	// A type without protobuf answers in JSON where that is acceptable.
	a.must(201, "POST", widgets, widget("w", ""))
	if r := a.must(200, "GET", widgets, "", "Accept", accept); r.header.Get("Content-Type") != "application/json" {
		t.Errorf("custom type: %v", r.header)
	}
	a.must(406, "GET", widgets, "", "Accept", protobufType)

	w := a.watch(cms+"?watch=true", "Accept", protobufType+";stream=watch,application/json;stream=watch")
	if ct := w.resp.Header.Get("Content-Type"); ct != protobufType+";stream=watch" {
		t.Errorf("content type %q", ct)
	}
	var size [4]byte
	if _, err := io.ReadFull(w.resp.Body, size[:]); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.resp.Body, frame); err != nil {
		t.Fatal(err)
	}
	var ev metav1.WatchEvent
	if err := ev.Unmarshal(frame); err != nil {
		t.Fatal(err)
	}
	if unwrap(t, ev.Object.Raw, &got); ev.Type != "ADDED" || got.Name != "c" {
		t.Errorf("event %v %v", ev.Type, got)
	}
}

func TestHealthVersionMetrics(t *testing.T) {
	ready := false
	a := newAPI(t, func(c *apiserver.Config) {
		c.Ready = []apiserver.Check{{Name: "thing", Run: func(context.Context) error {
			if ready {
				return nil
			}
			return fmt.Errorf("not yet")
		}}}
		c.Version.GitVersion = "v1.36.3"
	})
	if r := a.must(500, "GET", "/readyz", ""); !strings.Contains(string(r.body), "[-]thing failed: not yet") {
		t.Errorf("%s", r.body)
	}
	ready = true
	if r := a.must(200, "GET", "/readyz", ""); string(r.body) != "ok" {
		t.Errorf("%s", r.body)
	}
	if r := a.must(200, "GET", "/readyz?verbose", ""); !strings.Contains(string(r.body), "[+]thing ok\n") || !strings.HasSuffix(string(r.body), "readyz check passed\n") {
		t.Errorf("%s", r.body)
	}
	a.must(200, "GET", "/livez", "")
	a.must(200, "GET", "/livez/ping", "")
	a.must(404, "GET", "/livez/none", "")
	if r := a.must(200, "GET", "/version", "").object(t); r["gitVersion"] != "v1.36.3" {
		t.Errorf("%v", r)
	}
	if r := a.must(200, "GET", "/metrics", ""); !strings.Contains(string(r.body), `apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="namespaces",scope="cluster",subresource="",verb="POST",version="v1"} 1`) {
		t.Errorf("%s", r.body)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	a := newAPI(t, func(c *apiserver.Config) {
		c.Handlers = map[string]http.Handler{"/panic": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })}
	})
	if r := a.must(500, "GET", "/panic", ""); !strings.Contains(string(r.body), "boom") || r.object(t)["kind"] != "Status" {
		t.Errorf("%s", r.body)
	}
	a.must(200, "GET", "/livez", "")
}

func TestServeEndsWatchesAndReturns(t *testing.T) {
	s := newServer(t).API
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	resp, err := client.Get("http://pintle/api/v1/namespaces?watch=true&resourceVersion=0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 0 {
		t.Errorf("the watch did not end cleanly: %q %v", b, err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve did not return")
	}
}
