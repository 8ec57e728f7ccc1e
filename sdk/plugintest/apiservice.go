package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/sdk/apiservice"
)

// APIServiceCase is an API service to be held to the contract.
type APIServiceCase struct {
	Case
	New func() apiservice.APIService
}

// RunAPIService holds an API service to what hosts and clients rely on, directly and over gRPC:
// that its discovery is true, that what it lists can be read and watched, and that it says of
// what is not there that it is not there.
func RunAPIService(t *testing.T, c APIServiceCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("direct", func(t *testing.T) {
		h := Start(t, c.New()) // for an environment
		env, err := h.Environment.Env(h.Client.Info(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		impl := c.New()
		configure(t, impl, c.Settings)
		handler, err := impl.Serve(t.Context(), env)
		if err != nil {
			t.Fatalf("serve: %v", err)
		}
		s := apiservice.NewServer(handler)
		t.Cleanup(s.Close)
		exploreAPI(t, impl.GroupVersions(), s.Dial)
	})
	t.Run("grpc", func(t *testing.T) {
		h := Start(t, c.New())
		configure(t, h.Client, c.Settings)
		svc, ok := h.Client.APIService()
		if !ok {
			t.Fatal("the host is not told that the plugin is an API service")
		}
		if conn, err := svc.Dial(t.Context()); err == nil {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("it serves before it was opened")
			}
		}
		life, end := context.WithCancel(t.Context())
		gvs, gone, err := svc.Open(life)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		if _, _, err := svc.Open(life); err == nil {
			t.Error("it can be opened twice at the same time")
		}
		exploreAPI(t, gvs, svc.Dial)
		end()
		<-gone
		soon(t, "open again", func() error {
			_, _, err := svc.Open(t.Context())
			return err
		})
	})
}

// soon tries until it works, for as long as the suites have patience.
func soon(t testing.TB, what string, try func() error) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(Patience); ; <-again.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// api is a client of an API service.
type api struct {
	t      *testing.T
	client http.Client
}

func exploreAPI(t *testing.T, gvs []apiservice.GroupVersion, dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	through := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}
	t.Cleanup(through.CloseIdleConnections)
	a := &api{t: t, client: http.Client{Transport: through}}
	if len(gvs) == 0 {
		t.Fatal("it serves no group version")
	}
	for _, gv := range gvs {
		base := "/apis/" + gv.Group + "/" + gv.Version
		var list metav1.APIResourceList
		if err := a.get(base, "", &list); err != nil {
			t.Fatalf("discovery: %v", err)
		}
		if list.Kind != "APIResourceList" || list.GroupVersion != gv.Group+"/"+gv.Version {
			t.Errorf("%s: kind %q of %q", base, list.Kind, list.GroupVersion)
		}
		for _, r := range list.APIResources {
			t.Run(r.Name, func(t *testing.T) { (&api{t: t, client: a.client}).resource(base, r) })
		}
		a.openAPI(base, gv, list)
	}
}

// get reads a document; a status that is not 200 is an error.
func (a *api) get(path, accept string, into any) error {
	resp, err := a.do(a.t.Context(), path, accept)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return &statusError{code: resp.StatusCode, text: fmt.Sprintf("GET %s: %d %s", path, resp.StatusCode, body), body: body}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w in %s", path, err, body)
	}
	return nil
}

type statusError struct {
	code int
	text string
	body []byte
}

func (e *statusError) Error() string { return e.text }

func (a *api) do(ctx context.Context, path, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://plugin"+path, nil)
	if err != nil {
		return nil, err
	}
	if accept == "" {
		accept = "application/json"
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("X-Remote-User", "plugintest")
	req.Header.Add("X-Remote-Group", "system:masters")
	return a.client.Do(req)
}

// resource holds one resource to what its discovery says.
func (a *api) resource(base string, r metav1.APIResource) {
	t := a.t
	if r.Kind == "" || len(r.Verbs) == 0 {
		t.Errorf("discovery gives no kind, or no verbs: %+v", r)
	}
	if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") {
		return
	}
	var list unstructured.UnstructuredList
	if err := a.get(base+"/"+r.Name, "", &list); err != nil {
		t.Fatalf("list: %v", err)
	}
	if !strings.HasSuffix(list.GetKind(), "List") || "/apis/"+list.GetAPIVersion() != base {
		t.Errorf("a list of kind %q, version %q", list.GetKind(), list.GetAPIVersion())
	}
	place := func(namespace string) string {
		if r.Namespaced {
			return base + "/namespaces/" + namespace + "/" + r.Name
		}
		return base + "/" + r.Name
	}
	for _, o := range list.Items {
		if o.GetKind() != r.Kind || o.GetName() == "" || r.Namespaced != (o.GetNamespace() != "") {
			t.Errorf("the list has a %q with name %q in namespace %q", o.GetKind(), o.GetName(), o.GetNamespace())
			continue
		}
		if slices.Contains(r.Verbs, "get") {
			var one unstructured.Unstructured
			if err := a.get(place(o.GetNamespace())+"/"+o.GetName(), "", &one); err != nil || one.GetName() != o.GetName() || one.GetKind() != r.Kind {
				t.Errorf("get %s, which is listed: %v %v", o.GetName(), one.Object, err)
			}
		}
	}
	if slices.Contains(r.Verbs, "get") {
		var status metav1.Status
		var failed *statusError
		err := a.get(place("plugintest-none")+"/plugintest-none", "", &status)
		if !asStatus(err, &failed) || failed.code != http.StatusNotFound {
			t.Errorf("get of what is not there: %v, want 404", err)
		} else if err := json.Unmarshal(failed.body, &status); err != nil || status.Kind != "Status" || status.Reason != metav1.StatusReasonNotFound {
			t.Errorf("get of what is not there answers %s, want a Status with reason NotFound", failed.body)
		}
	}
	a.table(base + "/" + r.Name)
	if slices.Contains(r.Verbs, "watch") {
		a.watch(base+"/"+r.Name, list.GetResourceVersion())
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			var again unstructured.UnstructuredList
			if err := a.get(base+"/"+r.Name, "", &again); err != nil {
				t.Errorf("lists at the same time: %v", err)
			}
		})
	}
	all.Wait()
}

func asStatus(err error, into **statusError) bool {
	e, ok := err.(*statusError) //nolint:errorlint // get returns it as it is
	*into = e
	return ok
}

// table checks the table, which a server need not have.
func (a *api) table(path string) {
	var table metav1.Table
	if err := a.get(path, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", &table); err != nil {
		a.t.Errorf("table: %v", err)
		return
	}
	if table.Kind != "Table" {
		return
	}
	for _, row := range table.Rows {
		if len(row.Cells) != len(table.ColumnDefinitions) {
			a.t.Errorf("table: a row of %d cells, %d columns", len(row.Cells), len(table.ColumnDefinitions))
		}
	}
}

// watch checks that a watch begins at once and ends with its client.
func (a *api) watch(path, from string) {
	ctx, cancel := context.WithCancel(a.t.Context())
	defer cancel()
	resp, err := a.do(ctx, path+"?watch=true&timeoutSeconds=60&resourceVersion="+from, "")
	if err != nil {
		a.t.Errorf("watch: %v", err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.t.Errorf("watch after a list: %s", resp.Status)
	}
}

// openAPI checks the document of version 3, which a server need not have.
func (a *api) openAPI(base string, gv apiservice.GroupVersion, list metav1.APIResourceList) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				GVK []metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
			} `json:"schemas"`
		} `json:"components"`
	}
	var none *statusError
	err := a.get("/openapi/v3"+base, "", &doc)
	if asStatus(err, &none) && none.code == http.StatusNotFound {
		return
	}
	if err != nil {
		a.t.Errorf("OpenAPI: %v", err)
		return
	}
	described := map[string]bool{}
	for _, s := range doc.Components.Schemas {
		for _, gvk := range s.GVK {
			if gvk.Group == gv.Group && gvk.Version == gv.Version {
				described[gvk.Kind] = true
			}
		}
	}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") && !described[r.Kind] {
			a.t.Errorf("OpenAPI has no schema of %s", r.Kind)
		}
	}
}
