package apiserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// journal keeps events as a reader of the log sees them.
type journal struct {
	mu     sync.Mutex
	events []auditv1.Event
	more   chan struct{}
}

func (j *journal) Write(e *auditv1.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var read auditv1.Event
	if err := json.Unmarshal(line, &read); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, read)
	select {
	case j.more <- struct{}{}:
	default:
	}
	return nil
}

func (j *journal) Run(context.Context) error { return nil }

// of returns the events with an ID, when n of them are there: the last one is written
// after the client has its answer.
func (j *journal) of(t *testing.T, id string, n int) []auditv1.Event {
	t.Helper()
	for {
		j.mu.Lock()
		var out []auditv1.Event
		for _, e := range j.events {
			if string(e.AuditID) == id {
				out = append(out, e)
			}
		}
		j.mu.Unlock()
		if len(out) >= n {
			return out
		}
		select {
		case <-j.more:
		case <-t.Context().Done():
			t.Fatalf("%d events of %s, want %d", len(out), id, n)
		}
	}
}

func newAuditedAPI(t *testing.T, policy string, change ...func(*apiserver.Config)) (*api, *journal) {
	t.Helper()
	p, err := audit.ParsePolicy([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + policy))
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{more: make(chan struct{}, 1)}
	auditor, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{j}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return newAPI(t, append(change, func(c *apiserver.Config) { c.Audit = auditor })...), j
}

// annotator is an admission plugin that has something to say for the log.
type annotator struct{}

func (annotator) Validate(_ context.Context, r *admission.Request) error {
	r.Annotate("test.dev/name", r.Name)
	r.Annotate("test.dev/name", "another")
	return nil
}

// undecided can not say whether metrics may be read.
type undecided struct{ everyone }

func (u undecided) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	if a.Path == "/metrics" {
		return false, "", fmt.Errorf("the oracle is asleep")
	}
	ok, _, err := u.everyone.Authorize(ctx, a)
	return ok, "because", err
}

func TestAudit(t *testing.T) {
	a, j := newAuditedAPI(t, `
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, resources: [{group: test.dev, resources: [echoes]}]}
- {level: Metadata, resources: [{group: test.dev, resources: [widgets], resourceNames: [meta]}]}
- {level: Request, verbs: [patch, delete]}
- {level: RequestResponse, resources: [{group: ""}, {group: test.dev}]}
- {level: Metadata, nonResourceURLs: [/version, "/metrics*"], omitStages: []}
`, func(c *apiserver.Config) {
		c.Validators = append(c.Validators, annotator{})
		c.Authorizer = undecided{}
	})
	a.must(201, "POST", widgets, widget("meta", ""), "Audit-ID", "create meta")
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		stages                   string
		check                    func(t *testing.T, e auditv1.Event)
	}{
		{"objects of create", "POST", widgets, widget("w", ""), nil, 201, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.Level != auditv1.LevelRequestResponse || e.Verb != "create" || e.User.Username != "root" || e.UserAgent != "tester/1.0" || e.RequestURI != widgets {
				t.Errorf("%+v", e)
			}
			if ref := e.ObjectRef; ref == nil || ref.Name != "w" || ref.Namespace != "default" || ref.Resource != "widgets" || ref.APIGroup != "test.dev" || ref.APIVersion != "v1" {
				t.Errorf("reference %+v", ref)
			}
			if !strings.Contains(string(e.RequestObject.Raw), `"size":"small"`) || !strings.Contains(string(e.ResponseObject.Raw), `"uid"`) {
				t.Errorf("request %s, response %s", e.RequestObject.Raw, e.ResponseObject.Raw)
			}
			if strings.Contains(string(e.ResponseObject.Raw), "managedFields") {
				t.Error("the managed fields are there")
			}
			want := map[string]string{"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "because", "test.dev/name": "w"}
			if fmt.Sprint(e.Annotations) != fmt.Sprint(want) {
				t.Errorf("annotations %v, want %v", e.Annotations, want)
			}
		}},
		{"YAML is recorded as JSON", "POST", widgets, "metadata: {name: yam}\nspec: {size: small}\n", []string{"Content-Type", "application/yaml"}, 201, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if !json.Valid(e.RequestObject.Raw) || e.ObjectRef.Name != "yam" {
				t.Errorf("%s %+v", e.RequestObject.Raw, e.ObjectRef)
			}
		}},
		{"metadata only", "GET", widgets + "/meta", "", nil, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.RequestObject != nil || e.ResponseObject != nil || e.ResponseStatus.Code != 200 {
				t.Errorf("%+v", e)
			}
		}},
		{"patch", "PATCH", widgets + "/w", `{"spec":{"size":"large"}}`, []string{"Content-Type", "application/merge-patch+json"}, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if string(e.RequestObject.Raw) != `{"spec":{"size":"large"}}` || e.ResponseObject != nil {
				t.Errorf("%+v", e)
			}
		}},
		{"list", "GET", widgets, "", nil, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			var l struct{ Items []json.RawMessage }
			if err := json.Unmarshal(e.ResponseObject.Raw, &l); err != nil || len(l.Items) != 3 || strings.Contains(string(e.ResponseObject.Raw), "managedFields") {
				t.Errorf("%v %s", err, e.ResponseObject.Raw)
			}
		}},
		{"list as protobuf", "GET", cms, "", []string{"Accept", "application/vnd.kubernetes.protobuf"}, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if !strings.Contains(string(e.ResponseObject.Raw), "ConfigMapList") {
				t.Errorf("%s", e.ResponseObject.Raw)
			}
		}},
		{"not JSON", "POST", widgets, `{"metadata":`, nil, 400, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.RequestObject != nil || e.ResponseStatus.Code != 400 {
				t.Errorf("%+v", e)
			}
		}},
		{"refused", "POST", widgets, `{"metadata":{"name":"bad"}}`, nil, 422, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if st := e.ResponseStatus; st.Code != 422 || st.Reason != "Invalid" || st.Details == nil {
				t.Errorf("%+v", st)
			}
			if !strings.Contains(string(e.ResponseObject.Raw), `"Invalid"`) {
				t.Errorf("%s", e.ResponseObject.Raw)
			}
		}},
		{"forbidden", "GET", cms, "", []string{"X-User", "nobody"}, 403, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.Annotations["authorization.k8s.io/decision"] != "forbid" || e.ResponseStatus.Code != 403 || e.User.Username != "nobody" {
				t.Errorf("%+v", e)
			}
		}},
		{"undecided", "GET", "/metrics", "", nil, 500, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if d, ok := e.Annotations["authorization.k8s.io/decision"]; ok || e.Annotations["authorization.k8s.io/reason"] != "internal error" {
				t.Errorf("%q %+v", d, e.Annotations)
			}
		}},
		{"unauthenticated", "GET", cms, "", []string{"X-User", "unknown", "Authorization", "Bearer x"}, 401, "ResponseStarted", func(t *testing.T, e auditv1.Event) {
			if e.User.Username != "" || e.ResponseStatus.Code != 401 {
				t.Errorf("%+v", e)
			}
		}},
		{"impersonation", "GET", widgets + "/w", "", []string{"Impersonate-User", "jane", "Impersonate-Group", "dev"}, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.User.Username != "root" || e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "jane" || !slices.Contains(e.ImpersonatedUser.Groups, "dev") {
				t.Errorf("%+v as %+v", e.User, e.ImpersonatedUser)
			}
			if m := e.AuthenticationMetadata; m == nil || m.ImpersonationConstraint != "impersonate:user-info" {
				t.Errorf("%+v", m)
			}
		}},
		{"path", "GET", "/version", "", nil, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if e.ObjectRef != nil || e.Verb != "get" {
				t.Errorf("%+v", e)
			}
		}},
		{"delete", "DELETE", widgets + "/w", `{"propagationPolicy":"Background"}`, nil, 200, "ResponseComplete", func(t *testing.T, e auditv1.Event) {
			if !strings.Contains(string(e.RequestObject.Raw), "Background") || e.ResponseStatus.Status != "Success" {
				t.Errorf("%s %+v", e.RequestObject.Raw, e.ResponseStatus)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := "test " + c.name
			r := a.must(c.code, c.method, c.path, c.body, append(c.header, "Audit-ID", id)...)
			if got := r.header.Get("Audit-ID"); got != id {
				t.Errorf("the answer has Audit-ID %q", got)
			}
			want := strings.Fields(c.stages)
			events := j.of(t, id, len(want))
			var got []string
			for _, e := range events {
				got = append(got, string(e.Stage))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("stages %v, want %v", got, want)
			}
			c.check(t, events[len(events)-1])
		})
	}
	t.Run("nothing of level None", func(t *testing.T) {
		r := a.must(201, "POST", "/apis/test.dev/v1/echoes", `{"spec":{}}`)
		if r.header.Get("Audit-ID") == "" {
			t.Error("a request without an ID gets none")
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, e := range j.events {
			if string(e.AuditID) == r.header.Get("Audit-ID") {
				t.Errorf("there is an event: %+v", e)
			}
		}
	})
}

func TestAuditOfAWatch(t *testing.T) {
	a, j := newAuditedAPI(t, "rules:\n- level: RequestResponse\n")
	w := a.watch(cms+"?watch=true", "Audit-ID", "watching")
	if e := j.of(t, "watching", 2); e[0].Stage != auditv1.StageRequestReceived || e[1].Stage != auditv1.StageResponseStarted || e[1].ResponseStatus.Code != 200 {
		t.Fatalf("%+v", e)
	}
	w.cancel()
	if e := j.of(t, "watching", 3)[2]; e.Stage != auditv1.StageResponseComplete || !e.StageTimestamp.After(e.RequestReceivedTimestamp.Time) || e.ResponseObject != nil {
		t.Errorf("%+v", e)
	}
}

func TestAuditOfAPanic(t *testing.T) {
	a, j := newAuditedAPI(t, "rules:\n- level: Metadata\n", func(c *apiserver.Config) {
		c.Handlers = map[string]http.Handler{
			"/panic": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no more") }),
			"/abort": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		}
	})
	req, err := http.NewRequest(http.MethodPost, a.URL+"/abort", http.NoBody) // a POST is not sent again
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Audit-ID", "aborted")
	if _, err := a.HTTP.Do(req); err == nil {
		t.Error("an aborted request has an answer")
	}
	if e := j.of(t, "aborted", 2)[1]; e.Stage != auditv1.StagePanic {
		t.Errorf("%+v", e)
	}
	a.must(500, "GET", "/panic", "", "Audit-ID", "p")
	e := j.of(t, "p", 2)[1]
	for e.Stage != auditv1.StagePanic {
		e = j.of(t, "p", 3)[2]
	}
	if e.ResponseStatus.Code != 500 || !strings.Contains(e.ResponseStatus.Message, "no more") {
		t.Errorf("%+v", e.ResponseStatus)
	}
}

func TestRequestsHaveAnIDWithoutALog(t *testing.T) {
	a := newAPI(t)
	for _, user := range []string{"root", "unknown"} {
		if r := a.do("GET", cms, "", "Audit-ID", "mine", "X-User", user); r.header.Get("Audit-ID") != "mine" {
			t.Errorf("%s: %v", user, r.header)
		}
		if r := a.do("GET", cms, "", "X-User", user); len(r.header.Get("Audit-ID")) != 36 {
			t.Errorf("%s: without one: %v", user, r.header)
		}
	}
}

// broken is a log that takes nothing.
type broken struct{ journal }

func (*broken) Write(*auditv1.Event) error { return errors.New("disk full") }

// Where a request must not be served without a record, it is not.
func TestRequestsThatCanNotBeAudited(t *testing.T) {
	p, err := audit.ParsePolicy([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, resources: [{group: '', resources: [configmaps]}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	auditor, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{audit.Strict(&broken{})}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, func(c *apiserver.Config) { c.Audit = auditor })
	r := a.do("POST", cms, `{"metadata":{"name":"x"}}`)
	if r.code != 500 || at(r.object(t), "message") != "Internal error occurred: failed to store audit event" {
		t.Errorf("%d %s", r.code, r.body)
	}
	if n := a.store.Count("configmaps/"); n != 0 {
		t.Errorf("%d objects were made", n)
	}
}
