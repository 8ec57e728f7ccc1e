package webhook_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// notes are what admission has told the audit log.
type notes struct {
	mu   sync.Mutex
	said map[string]string
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, k := range slices.Sorted(maps.Keys(n.said)) {
		out = append(out, k+"="+n.said[k])
	}
	clear(n.said)
	return out
}

func TestAuditAnnotations(t *testing.T) {
	said := &notes{said: map[string]string{}}
	a, s := newAPI(t, func(key, value string) {
		said.mu.Lock()
		defer said.mu.Unlock()
		said.said[key] = value
	}), newWebhookServer(t)
	s.on("/note", func(*admissionv1.AdmissionRequest) *verdict {
		return &verdict{Allowed: true, AuditAnnotations: map[string]string{"key": "value"}}
	})
	s.on("/patch", patching(`[{"op":"add","path":"/data","value":{"a":"b"}}]`))
	s.on("/deny", denying(&metav1.Status{Message: "no"}))
	for _, c := range []struct {
		name, kind string
		hooks      []string
		want       []string
	}{
		{"said by a webhook", validating, []string{s.at("/note", "")}, []string{"h0.a.test.dev/key=value"}},
		{"ignored", validating, []string{s.at("/allow", ""), `{"failurePolicy":"Ignore","clientConfig":{"url":"` + deadURL(t) + `"}}`},
			[]string{"failed-open.validating.webhook.admission.k8s.io/round_0_index_1=h1.a.test.dev"}},
		{"changed, and not", mutating, []string{s.at("/patch", ""), s.at("/note", "")}, []string{
			"h1.a.test.dev/key=value",
			`mutation.webhook.admission.k8s.io/round_0_index_0={"configuration":"a","webhook":"h0.a.test.dev","mutated":true}`,
			`mutation.webhook.admission.k8s.io/round_0_index_1={"configuration":"a","webhook":"h1.a.test.dev","mutated":false}`}},
		{"called again", mutating, []string{s.at("/allow", `"reinvocationPolicy":"IfNeeded"`), s.at("/patch", "")}, []string{
			`mutation.webhook.admission.k8s.io/round_0_index_0={"configuration":"a","webhook":"h0.a.test.dev","mutated":false}`,
			`mutation.webhook.admission.k8s.io/round_0_index_1={"configuration":"a","webhook":"h1.a.test.dev","mutated":true}`,
			`mutation.webhook.admission.k8s.io/round_1_index_0={"configuration":"a","webhook":"h0.a.test.dev","mutated":false}`}},
		{"refused", mutating, []string{s.at("/deny", "")}, []string{
			`mutation.webhook.admission.k8s.io/round_0_index_0={"configuration":"a","webhook":"h0.a.test.dev","mutated":false}`}},
	} {
		a.configure(c.kind, "a", c.hooks...)
		said.take()
		a.Do("POST", cms+"?dryRun=All", `{"metadata":{"name":"c"}}`)
		if got := said.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
		a.clear()
	}
}
