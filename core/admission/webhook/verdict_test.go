package webhook_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
)

func TestRefusals(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	for _, c := range []struct {
		name    string
		result  *metav1.Status
		code    int
		message string
		reason  string
	}{
		{"without a word", nil, 400, `admission webhook "h0.v.test.dev" denied the request without explanation`, ""},
		{"message", &metav1.Status{Message: "no"}, 400, `admission webhook "h0.v.test.dev" denied the request: no`, ""},
		{"reason", &metav1.Status{Reason: "Because"}, 400, `admission webhook "h0.v.test.dev" denied the request: Because`, "Because"},
		{"code", &metav1.Status{Message: "no", Code: 403, Reason: metav1.StatusReasonForbidden}, 403, `admission webhook "h0.v.test.dev" denied the request: no`, "Forbidden"},
		{"a code that is none", &metav1.Status{Message: "no", Code: 200, Status: "Success"}, 400, `admission webhook "h0.v.test.dev" denied the request: no`, ""},
		{"unprocessable", &metav1.Status{Message: "no", Code: 422}, 422, `admission webhook "h0.v.test.dev" denied the request: no`, ""},
	} {
		s.on("/deny", denying(c.result))
		for _, kind := range []string{validating, mutating} {
			// A refusal is one whatever the failure policy is.
			a.configure(kind, "v", s.at("/deny", `"failurePolicy":"Ignore"`))
			r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`)
			o := r.Object()
			if reason, _ := o["reason"].(string); r.Code != c.code || r.Message() != c.message || reason != c.reason || o["status"] != "Failure" {
				t.Errorf("%s: %d %s", c.name, r.Code, r.Body)
			}
			a.Must(404, "GET", cms+"/c", "")
			a.clear()
		}
	}
}

// deadURL is an address at which nobody listens.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String() + "/x"
}

func TestFailures(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	hung := make(chan struct{})
	defer close(hung)
	respond := func(f func(r *verdict, review *admissionv1.AdmissionReview)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			s.mu.Lock()
			uid := s.seen[len(s.seen)-1].UID
			s.mu.Unlock()
			review := &admissionv1.AdmissionReview{Response: &verdict{UID: uid, Allowed: true}}
			review.APIVersion, review.Kind = "admission.k8s.io/v1", "AdmissionReview"
			f(review.Response, review)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(review)
		}
	}
	jsonPatch := admissionv1.PatchTypeJSONPatch
	other := admissionv1.PatchType("Strategic")
	s.onRaw("/500", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "broken inside", http.StatusInternalServerError)
	})
	s.onRaw("/404", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nothing here", http.StatusNotFound) })
	s.onRaw("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	})
	s.onRaw("/garbage", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	s.onRaw("/flood", func(w http.ResponseWriter, _ *http.Request) {
		for range 17 {
			_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
		}
	})
	s.onRaw("/uid", respond(func(r *verdict, _ *admissionv1.AdmissionReview) { r.UID = "another" }))
	s.onRaw("/empty", respond(func(_ *verdict, r *admissionv1.AdmissionReview) { r.Response = nil }))
	s.onRaw("/patch", respond(func(r *verdict, _ *admissionv1.AdmissionReview) {
		r.Patch, r.PatchType = []byte(`[{"op":"add","path":"/data","value":{}}]`), &jsonPatch
	}))
	s.onRaw("/untyped", respond(func(r *verdict, _ *admissionv1.AdmissionReview) { r.Patch = []byte(`[]`) }))
	s.onRaw("/strategic", respond(func(r *verdict, _ *admissionv1.AdmissionReview) { r.Patch, r.PatchType = []byte(`{}`), &other }))
	s.onRaw("/undecodable", respond(func(r *verdict, _ *admissionv1.AdmissionReview) { r.Patch, r.PatchType = []byte(`{}`), &jsonPatch }))
	at := func(path, more string) string { return s.at(path, more) }
	urlOf := func(u string) string { return fmt.Sprintf(`{"clientConfig":{"url":%q,"caBundle":%q}}`, u, s.bundle()) }
	const called = `Internal error occurred: failed calling webhook "h0.f.test.dev": `
	for _, c := range []struct {
		name    string
		hook    string
		kinds   string
		message []string
	}{
		{"nobody listens", urlOf(deadURL(t)), "vm", []string{called + `failed to call webhook: Post "https://127.0.0.1:`, `?timeout=10s": dial tcp 127.0.0.1:`, "connection refused"}},
		{"untrusted", fmt.Sprintf(`{"clientConfig":{"url":%q}}`, s.URL), "vm", []string{called + "failed to call webhook: Post ", "x509: certificate signed by unknown authority"}},
		{"bad bundle", fmt.Sprintf(`{"clientConfig":{"url":%q,"caBundle":"YQ=="}}`, s.URL), "vm", []string{called + "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block"}},
		{"no service", `{"clientConfig":{"service":{"namespace":"default","name":"gone","path":"/x"}}}`, "vm",
			[]string{called + `failed to call webhook: Post "https://gone.default.svc:443/x?timeout=10s": service "gone" not found`}},
		{"500", at("/500", ""), "vm", []string{called + `failed to call webhook: an error on the server ("broken inside") has prevented the request from succeeding`}},
		{"404", at("/404", ""), "vm", []string{called + "failed to call webhook: the server could not find the requested resource"}},
		{"too late", at("/hang", `"timeoutSeconds":1`), "v", []string{called + "failed to call webhook: Post ", "?timeout=1s", "context deadline exceeded"}},
		{"no JSON", at("/garbage", ""), "vm", []string{called + "failed to call webhook: "}},
		{"too much", at("/flood", ""), "vm", []string{called + "failed to call webhook: "}},
		{"another uid", at("/uid", ""), "vm", []string{called + `received invalid webhook response: expected response.uid="`, `", got "another"`}},
		{"no response", at("/empty", ""), "vm", []string{called + "received invalid webhook response: webhook response was absent"}},
		{"a patch of a validating one", at("/patch", ""), "v", []string{called + "received invalid webhook response: validating webhook may not return response.patch"}},
		{"a patch without type", at("/untyped", ""), "m", []string{called + "received invalid webhook response: webhook returned response.patch but not response.patchType"}},
		{"a patch of another type", at("/strategic", ""), "m", []string{called, `unsupported patch type "Strategic"`}},
		{"no patch", at("/undecodable", ""), "m", []string{called + "received undecodable patch in webhook response: "}},
		{"unknown versions", at("/allow", `"admissionReviewVersions":["v9"]`), "vm", []string{called + "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"}},
	} {
		for _, kind := range []string{validating, mutating} {
			if !strings.Contains(c.kinds, kind[len(configs):len(configs)+1]) {
				continue
			}
			a.configure(kind, "f", c.hook)
			r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`)
			for _, part := range c.message {
				if r.Code != 500 || !strings.Contains(r.Message(), part) {
					t.Errorf("%s, %s: %d %s\nwant %s", c.name, kind[len(configs):], r.Code, r.Body, part)
				}
			}
			a.configure(kind, "f", strings.TrimSuffix(c.hook, "}")+`,"failurePolicy":"Ignore"}`)
			if r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`); r.Code != 201 {
				t.Errorf("%s, ignored: %d %s", c.name, r.Code, r.Body)
			}
			a.clear()
			a.Do("DELETE", cms+"/c", "")
		}
	}
}

// What a condition can't be evaluated on is refused, or not shown to the webhook.
func TestConditionsThatFail(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	for _, kind := range []string{validating, mutating} {
		a.configure(kind, "c", s.at("/allow", `"matchConditions":[{"name":"a","expression":"true"},{"name":"b","expression":"object.data.none == 'x'"}]`))
		r := a.Do("POST", cms, `{"metadata":{"name":"c"},"data":{"some":"thing"}}`)
		if r.Code != 403 || !strings.HasPrefix(r.Message(), `configmaps "c" is forbidden: `) || !strings.Contains(r.Message(), "no such key") {
			t.Errorf("%s: %d %s", kind, r.Code, r.Body)
		}
		if n := len(s.take()); n != 0 {
			t.Errorf("called %d times", n)
		}
		a.clear()
	}
}

func TestDryRun(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	for _, c := range []struct {
		sideEffects string
		want        int
	}{{"None", 201}, {"NoneOnDryRun", 201}, {"Some", 400}, {"Unknown", 400}} {
		for _, kind := range []string{validating, mutating} {
			a.configure(kind, "d", s.at("/allow", `"failurePolicy":"Ignore","sideEffects":"`+c.sideEffects+`"`))
			r := a.Do("POST", cms+"?dryRun=All", `{"metadata":{"name":"c"}}`)
			if r.Code != c.want {
				t.Errorf("%s: %d %s", c.sideEffects, r.Code, r.Body)
			}
			if want := `admission webhook "h0.d.test.dev" does not support dry run`; r.Code == 400 && r.Message() != want {
				t.Errorf("%s: %q", c.sideEffects, r.Message())
			}
			a.Must(201, "POST", cms, `{"metadata":{"name":"c"}}`)
			a.clear()
			a.Must(200, "DELETE", cms+"/c", "")
		}
	}
}

// Warnings reach the client whether the request is refused or not.
func TestWarnings(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/warn", func(*admissionv1.AdmissionRequest) *verdict {
		return &verdict{Allowed: true, Warnings: []string{"mind the gap"}}
	})
	s.on("/refuse", func(*admissionv1.AdmissionRequest) *verdict { return &verdict{Warnings: []string{"told you"}} })
	for _, kind := range []string{validating, mutating} {
		a.configure(kind, "w", s.at("/warn", ""), s.at("/refuse", ""))
		r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`)
		if got := strings.Join(r.Header.Values("Warning"), " "); r.Code != 400 || !strings.Contains(got, "mind the gap") || !strings.Contains(got, "told you") {
			t.Errorf("%s: %d, warnings %q", kind, r.Code, got)
		}
		a.clear()
	}
	for _, path := range []string{"/apis/authorization.k8s.io/v1/subjectaccessreviews", pods + "/p/binding", pods + "/p/exec?command=x"} {
		a.Do("POST", pods, `{"metadata":{"name":"p"},"spec":{}}`)
		a.configure(validating, "w", s.at("/warn", ""))
		r := a.Do("POST", path, `{}`)
		if got := r.Header.Get("Warning"); r.Code >= 300 || !strings.Contains(got, "mind the gap") {
			t.Errorf("%s: %d, warning %q: %s", path, r.Code, got, r.Body)
		}
		a.clear()
	}
}

// A Service is reached at its ready endpoints; the name in the certificate is the Service's.
func TestServices(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.Must(201, "POST", "/api/v1/namespaces/default/services", `{"metadata":{"name":"hooks"},"spec":{"selector":{"a":"b"},"clusterIP":"10.96.0.9","ports":[{"name":"web","port":8443}]}}`)
	slice := func(ready bool) string {
		return fmt.Sprintf(`{"metadata":{"name":"hooks-1","labels":{"kubernetes.io/service-name":"hooks"}},"addressType":"IPv4",
		 "ports":[{"name":"web","port":%s}],"endpoints":[{"addresses":["127.0.0.1"],"conditions":{"ready":%v}}]}`, u.Port(), ready)
	}
	const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	a.Must(201, "POST", slices, slice(false))
	hook := fmt.Sprintf(`{"clientConfig":{"service":{"namespace":"default","name":"hooks","port":8443,"path":"/deny"},"caBundle":%q},"rules":[{"operations":["*"],"apiGroups":[""],"apiVersions":["*"],"resources":["configmaps"]}]}`, s.bundle())
	s.on("/deny", denying(&metav1.Status{Message: "reached"}))
	a.configure(validating, "s", hook)
	if r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`); !strings.Contains(r.Message(), `no endpoints available for service "hooks"`) {
		t.Errorf("without a ready endpoint: %s", r.Body)
	}
	a.Must(200, "PUT", slices+"/hooks-1", slice(true))
	r := a.Do("POST", cms, `{"metadata":{"name":"c"}}`)
	// httptest's certificate is for example.com, so the name must be what fails.
	if !strings.Contains(r.Message(), "not hooks.default.svc") {
		t.Errorf("the server's certificate was not looked at for the Service's name: %s", r.Body)
	}
}

// The first version of the protocol is spoken with those who know no other.
func TestFirstVersion(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.onRaw("/old", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"response":{"uid":"","allowed":true,"patch":"` + "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEiLCJ2YWx1ZSI6eyJvbGQiOiJ3YXkifX1d" + `"}}`))
	})
	a.configure(mutating, "old", s.at("/old", `"admissionReviewVersions":["v0","v1beta1","v1"]`))
	if r := a.Must(201, "POST", cms, `{"metadata":{"name":"c"}}`); apiservertest.At(r.Object(), "data.old") != "way" {
		t.Errorf("not patched: %s", r.Body)
	}
}

// Connections are kept, and those of one server are shared.
func TestConnectionsAreKept(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	a.configure(validating, "k", s.at("/allow", ""))
	for i := range 20 {
		a.Must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"c%d"}}`, i))
	}
	// Another configuration of the same server.
	a.configure(validating, "l", s.at("/allow", ""))
	a.Must(201, "POST", cms, `{"metadata":{"name":"last"}}`)
	if n := s.opened.Load(); n > 1 {
		t.Errorf("%d connections for 21 requests", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protos["HTTP/2.0"] == 0 {
		t.Errorf("protocols %v, want HTTP/2", s.protos)
	}
}

func TestMetrics(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/deny", denying(&metav1.Status{Code: 403}))
	a.configure(validating, "m", s.at("/deny", ""), fmt.Sprintf(`{"failurePolicy":"Ignore","clientConfig":{"url":%q}}`, deadURL(t)),
		s.at("/allow", `"matchConditions":[{"name":"n","expression":"false"}]`))
	a.Must(403, "POST", cms, `{"metadata":{"name":"c"}}`)
	families, err := a.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			fmt.Fprintf(&got, "%s", f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Fprintf(&got, " %s=%s", l.GetName(), l.GetValue())
			}
			got.WriteByte('\n')
		}
	}
	for _, want := range []string{
		"apiserver_admission_webhook_rejection_count error_type=no_error name=h0.m.test.dev operation=CREATE rejection_code=403 type=validating",
		"apiserver_admission_webhook_request_total code=403 name=h0.m.test.dev operation=CREATE rejected=true type=validating",
		"apiserver_admission_webhook_request_total code=503 name=h1.m.test.dev operation=CREATE rejected=false type=validating",
		"apiserver_admission_webhook_admission_duration_seconds name=h0.m.test.dev operation=CREATE rejected=true type=validating",
		"apiserver_admission_webhook_fail_open_count name=h1.m.test.dev type=validating",
		"apiserver_admission_match_condition_exclusions_total kind=webhook name=h2.m.test.dev operation=CREATE type=validating",
	} {
		if !strings.Contains(got.String(), want+"\n") {
			t.Errorf("no metric %s", want)
		}
	}
}
