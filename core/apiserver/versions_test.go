package apiserver_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/apiserver/conversion"
	"github.com/pintle-dev/pintle/crd"
)

// converter is a webhook for crontabs: v1 has hostPort, v2 host and port.
type converter struct {
	*httptest.Server
	mu      sync.Mutex
	reviews []int // objects in each review
	spoil   func(review *apiextensionsv1.ConversionReview)
	plain   string // answered as it is with code 500
}

func newConverter(t testing.TB) *converter {
	c := &converter{}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *converter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plain != "" {
		http.Error(w, c.plain, http.StatusInternalServerError)
		return
	}
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.reviews = append(c.reviews, len(review.Request.Objects))
	out := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, o := range review.Request.Objects {
		var m map[string]any
		if err := json.Unmarshal(o.Raw, &m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if text, ok := m["hostPort"].(string); ok {
			m["host"], m["port"], _ = strings.Cut(text, ":")
			delete(m, "hostPort")
		} else {
			m["hostPort"] = fmt.Sprintf("%v:%v", m["host"], m["port"])
			delete(m, "host")
			delete(m, "port")
		}
		m["apiVersion"] = review.Request.DesiredAPIVersion
		m["unknown"] = "is pruned"
		meta, _ := m["metadata"].(map[string]any)
		meta["labels"] = map[string]any{"converted": "yes"}
		meta["generation"] = 99
		meta["finalizers"] = []string{"no.one/asked"}
		raw, _ := json.Marshal(m)
		out.ConvertedObjects = append(out.ConvertedObjects, runtime.RawExtension{Raw: raw})
	}
	review.Response, review.Request = out, nil
	if c.spoil != nil {
		c.spoil(&review)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&review)
}

func (c *converter) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// taken returns the reviews since the last call.
func (c *converter) taken() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reviews
	c.reviews = nil
	return r
}

func crontabCRD(storage string, clientConfig string) string {
	version := func(name, properties string) string {
		return fmt.Sprintf(`{"name":%q,"served":true,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","properties":%s}}}`, name, name == storage, properties)
	}
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"crontabs.stable.example.com"},
"spec":{"group":"stable.example.com","scope":"Namespaced","names":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"},
"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1","v1beta1"],"clientConfig":` + clientConfig + `}},
"versions":[` + version("v1", `{"hostPort":{"type":"string"}}`) + `,` + version("v2", `{"host":{"type":"string"},"port":{"type":"string"},"mode":{"type":"string","default":"fast"}}`) + `]}}`
}

func (c *converter) clientConfig() string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	return fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL+"/crdconvert", base64.StdEncoding.EncodeToString(ca))
}

// withConversion lets a server's conversions be asked for at webhooks.
func withConversion(cfg *apiserver.Config) {
	objects := cfg.Store
	cfg.Conversion = func(d *crd.Definition) apiserver.VersionConverter {
		return conversion.New(d, backend.NewResolver(objects))
	}
}

const crontabs1, crontabs2 = "/apis/stable.example.com/v1/namespaces/default/crontabs", "/apis/stable.example.com/v2/namespaces/default/crontabs"

func newCrontabs(t *testing.T) (*api, *converter) {
	c := newConverter(t)
	a := newAPI(t, withConversion)
	a.runCustomResources()
	a.must(201, "POST", crds, crontabCRD("v1", c.clientConfig()))
	a.established("crontabs.stable.example.com")
	return a, c
}

func TestConversionWebhook(t *testing.T) {
	a, c := newCrontabs(t)
	watch := a.watch(crontabs2 + "?watch=true")
	for i := range 5 {
		a.must(201, "POST", crontabs1, fmt.Sprintf(`{"metadata":{"name":"one-%d"},"hostPort":"h%d:80"}`, i, i))
	}
	if e := watch.expect("ADDED one-0"); at(e.Object, "host") != "h0" || at(e.Object, "port") != "80" {
		t.Errorf("watch: %v", e.Object)
	}
	watch.expect("ADDED one-1", "ADDED one-2", "ADDED one-3", "ADDED one-4")
	if got := c.taken(); len(got) != 5 {
		t.Errorf("reviews %v: what is in the version asked for needs none", got)
	}
	o := a.must(200, "GET", crontabs2+"/one-3", "").object(t)
	if at(o, "apiVersion") != "stable.example.com/v2" || at(o, "host") != "h3" || at(o, "port") != "80" || at(o, "hostPort") != nil || at(o, "unknown") != nil {
		t.Errorf("get: %v", o)
	}
	if at(o, "metadata.labels.converted") != "yes" || at(o, "metadata.generation") != 1.0 || at(o, "metadata.finalizers") != nil || at(o, "metadata.managedFields") == nil {
		t.Errorf("only labels and annotations of metadata are the webhook's: %v", at(o, "metadata"))
	}
	// All of a list go in one review.
	c.taken()
	if items, _ := at(a.must(200, "GET", crontabs2, "").object(t), "items").([]any); len(items) != 5 || at(items[4], "host") != "h4" {
		t.Errorf("list: %v", items)
	}
	if got := c.taken(); len(got) != 1 || got[0] != 5 {
		t.Errorf("reviews %v, want one of five", got)
	}
	// Writes in the other version are stored in the storage version.
	a.must(201, "POST", crontabs2, `{"metadata":{"name":"two"},"host":"x","port":"1"}`)
	if o := a.must(200, "GET", crontabs1+"/two", "").object(t); at(o, "hostPort") != "x:1" || at(o, "mode") != nil {
		t.Errorf("%v", o)
	}
	if o := a.must(200, "PATCH", crontabs2+"/two", `{"port":"2"}`, "Content-Type", "application/merge-patch+json").object(t); at(o, "port") != "2" {
		t.Errorf("patch: %v", o)
	}
	if o := a.must(200, "GET", crontabs1+"/two", "").object(t); at(o, "hostPort") != "x:2" {
		t.Errorf("%v", o)
	}
}

// After the storage version has changed there are objects of both.
func TestStorageVersionChanges(t *testing.T) {
	a, c := newCrontabs(t)
	a.must(201, "POST", crontabs1, `{"metadata":{"name":"old"},"hostPort":"old:1"}`)
	rv := at(a.must(200, "GET", crds+"/crontabs.stable.example.com", "").object(t), "metadata.resourceVersion")
	next := strings.Replace(crontabCRD("v2", c.clientConfig()), `"metadata":{`, `"metadata":{"resourceVersion":"`+rv.(string)+`",`, 1)
	o := a.must(200, "PUT", crds+"/crontabs.stable.example.com", next).object(t)
	if got := compactTree(at(o, "status.storedVersions")); got != `["v1","v2"]` {
		t.Errorf("storedVersions %s", got)
	}
	a.eventually(func() bool { // until the new definition is registered
		a.do("DELETE", crontabs2+"/new", "")
		a.must(201, "POST", crontabs2, `{"metadata":{"name":"new"},"host":"new","port":"2"}`)
		c.taken()
		a.must(200, "GET", crontabs2+"/new", "")
		return len(c.taken()) == 0
	})
	for path, field := range map[string]string{crontabs1: "hostPort", crontabs2: "host"} {
		items, _ := at(a.must(200, "GET", path, "").object(t), "items").([]any)
		if len(items) != 2 || !strings.HasPrefix(at(items[0], field).(string), "new") || !strings.HasPrefix(at(items[1], field).(string), "old") {
			t.Errorf("%s: %v", path, items)
		}
	}
	if got := c.taken(); len(got) != 2 || got[0] != 1 || got[1] != 1 {
		t.Errorf("reviews %v: each list has one object to convert", got)
	}
}

// What a webhook does wrong is told in upstream's words.
func TestConversionFails(t *testing.T) {
	a, c := newCrontabs(t)
	a.must(201, "POST", crontabs1, `{"metadata":{"name":"a"},"hostPort":"h:1"}`)
	const failed = "conversion webhook for stable.example.com/v1, Kind=CronTab failed: "
	const (
		returned = "conversion webhook for stable.example.com/v1, Kind=CronTab returned "
		invalid  = returned + "invalid object: "
		other    = returned + "invalid object at index 0: "
		meta     = returned + "invalid metadata: "
	)
	edit := func(f func(o map[string]any)) func(*apiextensionsv1.ConversionReview) {
		return func(r *apiextensionsv1.ConversionReview) {
			var m map[string]any
			_ = json.Unmarshal(r.Response.ConvertedObjects[0].Raw, &m)
			f(m)
			r.Response.ConvertedObjects[0].Raw, _ = json.Marshal(m)
		}
	}
	for name, test := range map[string]struct {
		spoil func(*apiextensionsv1.ConversionReview)
		want  string
	}{
		"refusal": {func(r *apiextensionsv1.ConversionReview) {
			r.Response.Result = metav1.Status{Status: "Failure", Message: "in test 1"}
		}, failed + "in test 1"},
		"refusal without words": {func(r *apiextensionsv1.ConversionReview) { r.Response.Result = metav1.Status{Status: "Failure"} },
			failed + "response.result.status was 'Failure', not 'Success'"},
		"other review":        {func(r *apiextensionsv1.ConversionReview) { r.Response.UID = "x" }, `, got "x"`},
		"no response":         {func(r *apiextensionsv1.ConversionReview) { r.Response = nil }, failed + "no response provided"},
		"no review":           {func(r *apiextensionsv1.ConversionReview) { r.Kind = "Thing" }, failed + "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1, Kind=Thing"},
		"too few":             {func(r *apiextensionsv1.ConversionReview) { r.Response.ConvertedObjects = nil }, "conversion webhook for stable.example.com/v1, Kind=CronTab returned 0 objects, expected 1"},
		"other name":          {edit(func(o map[string]any) { o["metadata"].(map[string]any)["name"] = "b" }), invalid + "must have the same name: a != b"},
		"other uid":           {edit(func(o map[string]any) { o["metadata"].(map[string]any)["uid"] = "b" }), invalid + "must have the same UID: "},
		"other kind":          {edit(func(o map[string]any) { o["kind"] = "B" }), other + "invalid kind (expected CronTab, received B)"},
		"other version":       {edit(func(o map[string]any) { o["apiVersion"] = "stable.example.com/v3" }), other + "invalid groupVersion (expected stable.example.com/v2, received stable.example.com/v3)"},
		"no metadata":         {edit(func(o map[string]any) { delete(o, "metadata") }), invalid + "must have the same name: a != "},
		"labels of numbers":   {edit(func(o map[string]any) { o["metadata"].(map[string]any)["labels"] = map[string]any{"a": 1} }), meta + "metadata.labels[a] must be a string"},
		"labels that are bad": {edit(func(o map[string]any) { o["metadata"].(map[string]any)["labels"] = map[string]any{"a": "?"} }), meta + "metadata.labels: Invalid value"},
	} {
		c.set(func() { c.spoil = test.spoil })
		for _, path := range []string{crontabs2 + "/a", crontabs2} {
			if o := a.must(500, "GET", path, "").object(t); !strings.Contains(at(o, "message").(string), test.want) {
				t.Errorf("%s: %v, want %s", name, at(o, "message"), test.want)
			}
		}
		a.must(200, "GET", crontabs1+"/a", "")
	}
	c.set(func() { c.plain = "out of order" })
	if o := a.must(500, "POST", crontabs2, `{"metadata":{"name":"n"},"host":"n","port":"1"}`).object(t); !strings.Contains(at(o, "message").(string), "out of order") {
		t.Errorf("%v", o)
	}
	a.must(404, "GET", crontabs1+"/n", "")
}

// A Service that is not there is named.
func TestConversionByService(t *testing.T) {
	a := newAPI(t, withConversion)
	a.runCustomResources()
	a.must(201, "POST", crds, crontabCRD("v1", `{"service":{"namespace":"ns","name":"hook","path":"/convert"}}`))
	a.established("crontabs.stable.example.com")
	a.must(201, "POST", crontabs1, `{"metadata":{"name":"a"},"hostPort":"h:1"}`)
	o := a.must(500, "GET", crontabs2, "").object(t)
	if want := `failed: Post "https://hook.ns.svc:443/convert?timeout=30s": service "hook" not found`; !strings.Contains(at(o, "message").(string), want) {
		t.Errorf("%v, want %s", at(o, "message"), want)
	}
}
