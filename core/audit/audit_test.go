package audit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

// sink counts events by level.
type sink struct{ levels []string }

func (s *sink) Write(e *auditv1.Event) error {
	s.levels = append(s.levels, string(e.Level)+" "+string(e.Stage))
	return nil
}

func (s *sink) Run(context.Context) error { return nil }

func TestPolicy(t *testing.T) {
	pod := auth.Attributes{User: resource.User{Name: "jane", Groups: []string{"dev"}}, Verb: "get", Version: "v1", Resource: "pods", Namespace: "ns", Name: "p"}
	with := func(f func(*auth.Attributes)) auth.Attributes { a := pod; f(&a); return a }
	log := with(func(a *auth.Attributes) { a.Subresource = "log" })
	node := with(func(a *auth.Attributes) { a.Resource, a.Namespace, a.Name = "nodes", "", "n" })
	path := with(func(a *auth.Attributes) { a.Resource, a.Name, a.Namespace, a.Path = "", "", "", "/healthz/etcd" })
	for _, c := range []struct {
		name, rule string
		at         auth.Attributes
		want       bool
	}{
		{"everything", "", pod, true},
		{"user", "users: [jane]", pod, true}, {"other user", "users: [bob]", pod, false},
		{"group", "userGroups: [ops, dev]", pod, true}, {"other group", "userGroups: [ops]", pod, false},
		{"verb", "verbs: [list, get]", pod, true}, {"other verb", "verbs: [list]", pod, false},
		{"namespace", "namespaces: [ns]", pod, true}, {"other namespace", "namespaces: [kube-system]", pod, false},
		{"cluster scope", `namespaces: [""]`, node, true}, {"namespace is no path's", `namespaces: [""]`, path, false},
		{"group of all resources", `resources: [{group: ""}]`, log, true}, {"other API group", `resources: [{group: apps}]`, pod, false},
		{"any API group", `resources: [{group: "*", resources: [pods]}]`, pod, true},
		{"resource", `resources: [{group: "", resources: [pods]}]`, pod, true},
		{"resource is not its subresource", `resources: [{group: "", resources: [pods]}]`, log, false},
		{"subresource", `resources: [{group: "", resources: [pods/log]}]`, log, true},
		{"any subresource", `resources: [{group: "", resources: [pods/*]}]`, log, true},
		{"subresource of any", `resources: [{group: "", resources: ["*/log"]}]`, log, true},
		{"subresource of any, without one", `resources: [{group: "", resources: ["*/log"]}]`, pod, false},
		{"all resources", `resources: [{group: "", resources: ["*"]}]`, log, true},
		{"name", `resources: [{group: "", resources: [pods], resourceNames: [p]}]`, pod, true},
		{"other name", `resources: [{group: "", resources: [pods], resourceNames: [q]}]`, pod, false},
		{"path", "nonResourceURLs: [/healthz/etcd]", path, true}, {"path prefix", "nonResourceURLs: [/healthz*]", path, true},
		{"any path", `nonResourceURLs: ["*"]`, path, true}, {"other path", "nonResourceURLs: [/healthz]", path, false},
		{"path is no resource's", `nonResourceURLs: ["*"]`, pod, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule := "{level: Metadata}"
			if c.rule != "" {
				rule = "{level: Metadata, " + c.rule + "}"
			}
			p, err := audit.ParsePolicy([]byte(head + "rules: [" + rule + ", {level: Request}]\n"))
			if err != nil {
				t.Fatal(err)
			}
			s := &sink{}
			a, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{s}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil), c.at, time.Now(), false)
			if err != nil {
				t.Fatal(err)
			}
			want := "Request RequestReceived"
			if c.want {
				want = "Metadata RequestReceived"
			}
			if len(s.levels) != 1 || s.levels[0] != want {
				t.Errorf("%v, want %s", s.levels, want)
			}
		})
	}
}

func TestBadPolicies(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "apiVersion"},
		{"version", "apiVersion: audit.k8s.io/v1alpha1\nkind: Policy\nrules: [{level: None}]", "audit.k8s.io/v1"},
		{"no rules", head, "0 rules"},
		{"unknown field", head + "rules: [{level: None, verb: [get]}]", "verb"},
		{"doubled field", head + "rules: [{level: None}]\nrules: [{level: None}]", "rules"},
		{"level", head + "rules: [{level: Everything}]", "rules[0].level"},
		{"stage", head + "omitStages: [Late]\nrules: [{level: None}]", "omitStages"},
		{"both kinds of rule", head + "rules: [{level: None, resources: [{group: a}], nonResourceURLs: [/x]}]", "nonResourceURLs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := audit.ParsePolicy([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestLogRotates(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.log")
	l, err := audit.OpenLog(audit.LogConfig{Path: file, MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := &auditv1.Event{Verb: "get", UserAgent: strings.Repeat("x", 300<<10)}
	for i := range 8 {
		e.RequestURI = fmt.Sprint(i)
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit*.log"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	seen := 0
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Size() > 1<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
		r, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			if !json.Valid(sc.Bytes()) {
				t.Errorf("%s has a line that is not JSON", f)
			}
			seen++
		}
		r.Close()
	}
	if seen != 8 {
		t.Errorf("%d events in the files, want 8", seen)
	}
	if _, err := audit.OpenLog(audit.LogConfig{Path: filepath.Join(dir, "no", "such", "dir")}); err == nil {
		t.Error("a path that can't be written to is accepted")
	}
}

// kubeconfig names a test server, with its CA and a token.
func kubeconfig(t *testing.T, s *httptest.Server) string {
	t.Helper()
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL + "/sink?x=1", CertificateAuthorityData: pemOf(s)}
	cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "secret"}
	cfg.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	cfg.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWebhookSendsBatches(t *testing.T) {
	var calls atomic.Int32
	batches := make(chan auditv1.EventList, 10)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			http.Error(w, "not yet", http.StatusBadGateway)
			return
		}
		if r.URL.Path != "/sink" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %s", r.URL, r.Header.Get("Authorization"))
		}
		var l auditv1.EventList
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
			t.Error(err)
		}
		batches <- l
	}))
	defer s.Close()
	hook, err := audit.OpenWebhook(audit.WebhookConfig{Kubeconfig: kubeconfig(t, s), MaxBatch: 3, MaxWait: time.Hour, Buffer: 5, InitialBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	e := &auditv1.Event{}
	lost := 0
	for i := range 7 {
		e.RequestURI = fmt.Sprint(i)
		if hook.Write(e) != nil {
			lost++
		}
	}
	if lost != 2 {
		t.Errorf("%d events were refused by a queue of 5, want 2", lost)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hook.Run(ctx) }()
	first := <-batches
	if first.Kind != "EventList" || first.APIVersion != "audit.k8s.io/v1" || len(first.Items) != 3 || first.Items[0].RequestURI != "0" || first.Items[2].RequestURI != "2" {
		t.Errorf("first batch: %+v", first)
	}
	cancel()
	if second := <-batches; len(second.Items) != 2 || second.Items[1].RequestURI != "4" {
		t.Errorf("what was left at the end: %+v", second)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Admission annotates from several goroutines while the answer begins; each key has the value
// of one of them, and the events are whole.
func TestRecordsAreSharedByGoroutines(t *testing.T) {
	p, err := audit.ParsePolicy([]byte(head + "rules: [{level: RequestResponse}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.OpenLog(audit.LogConfig{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	a, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{l}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	at := auth.Attributes{User: resource.User{Name: "jane"}, Verb: "create", Version: "v1", Resource: "pods", Namespace: "ns"}
	const requests, writers, keys = 8, 8, 5
	var all sync.WaitGroup
	for range requests {
		rec, err := a.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/x", nil), at, time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			ctx := audit.NewContext(t.Context(), rec)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for k := range keys {
						audit.AddAnnotation(ctx, fmt.Sprint("key", k), fmt.Sprint("value", w))
					}
					rec.Request([]byte(`{"metadata":{"name":"p"}}`))
					rec.Started(201)
					rec.Response([]byte(`{"metadata":{"managedFields":[]}}`))
				})
			}
			wg.Wait()
			rec.Done(201, nil)
		})
	}
	all.Wait()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stages := map[auditv1.Stage]int{}
	for line := range strings.Lines(string(data)) {
		var e auditv1.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		stages[e.Stage]++
		if e.Stage == auditv1.StageResponseComplete && (len(e.Annotations) != keys || e.ObjectRef.Name != "p" || e.ResponseStatus.Code != 201 || e.ResponseObject == nil) {
			t.Errorf("%+v", e)
		}
	}
	for _, s := range []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted, auditv1.StageResponseComplete} {
		if stages[s] != requests {
			t.Errorf("%d events of stage %s, want %d", stages[s], s, requests)
		}
	}
}

// last keeps the last event.
type last struct {
	sink
	event auditv1.Event
}

func (l *last) Write(e *auditv1.Event) error { l.event = *e; return nil }

func TestSlowRequests(t *testing.T) {
	p, err := audit.ParsePolicy([]byte(head + "rules: [{level: Metadata}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1000, 0)
	for took, want := range map[time.Duration]string{500 * time.Millisecond: "", 700 * time.Millisecond: "700ms"} {
		l := &last{}
		a, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{l}, Now: func() time.Time { return start.Add(took) }})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		rec, err := a.Begin(w, httptest.NewRequest(http.MethodGet, "/x", nil), auth.Attributes{Path: "/x", Verb: "get"}, start, false)
		if err != nil {
			t.Fatal(err)
		}
		rec.Done(200, nil)
		if got := l.event.Annotations["apiserver.latency.k8s.io/total"]; got != want {
			t.Errorf("after %v the event says %q", took, got)
		}
	}
}

func TestSetID(t *testing.T) {
	for given, want := range map[string]string{"mine": "mine", "": ""} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil)
		if given != "" {
			r.Header.Set("Audit-ID", given)
		}
		id := audit.SetID(w, r)
		if again := audit.SetID(w, r); again != id || w.Header().Get("Audit-ID") != id || want != "" && id != want || len(w.Header().Values("Audit-ID")) != 1 || id == "" {
			t.Errorf("%q gets %q and %q, header %v", given, id, again, w.Header())
		}
	}
}

func BenchmarkSetID(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		delete(w.Header(), audit.HeaderID)
		audit.SetID(w, r)
	}
}
