package apiserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/store"
)

const transactions = "/apis/core.pintle.dev/v1/transactions"

// newTransactionAPI serves transactions too.
func newTransactionAPI(t testing.TB, change ...func(*apiserver.Config)) *api {
	t.Helper()
	a := newAPI(t, change...)
	if err := a.server.Install(corev1.Bundle()); err != nil {
		t.Fatal(err)
	}
	return a
}

func body(ops ...string) string { return `{"operations":[` + strings.Join(ops, ",") + `]}` }

func createOp(object string) string { return `{"verb":"create","object":` + object + `}` }

func configMap(name, data string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"default"},"data":%s}`, name, data)
}

func (r answer) transaction(t testing.TB) corev1.TransactionStatus {
	t.Helper()
	var tr corev1.Transaction
	if err := json.Unmarshal(r.body, &tr); err != nil || tr.Status == nil || tr.Kind != "Transaction" {
		t.Fatalf("no transaction (%v): %s", err, r.body)
	}
	return *tr.Status
}

func (r answer) status(t testing.TB) metav1.Status {
	t.Helper()
	var st metav1.Status
	if err := json.Unmarshal(r.body, &st); err != nil || st.Kind != "Status" || int(st.Code) != r.code {
		t.Fatalf("no status of %d (%v): %s", r.code, err, r.body)
	}
	return st
}

// TestTransactionDoesAllVerbs writes with every verb at once and compares what is answered
// with what is stored.
func TestTransactionDoesAllVerbs(t *testing.T) {
	a := newTransactionAPI(t)
	for _, n := range []string{"updated", "merged", "json", "strategic", "gone", "same", "waits"} {
		finalizers := ""
		if n == "waits" {
			finalizers = `,"finalizers":["a.dev/b"]`
		}
		a.must(201, "POST", cms, `{"metadata":{"name":"`+n+`"`+finalizers+`},"data":{"a":"1"}}`)
	}
	before := a.store.Revision()
	r := a.must(201, "POST", transactions+"?fieldManager=me", body(
		createOp(configMap("new", `{"a":"1"}`)),
		createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-","namespace":"default"}}`),
		`{"verb":"update","object":`+configMap("updated", `{"a":"2"}`)+`}`,
		`{"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"merged","patchType":"application/merge-patch+json","patch":{"data":{"b":"2"}}}`,
		`{"verb":"patch","apiVersion":"v1","resource":"configmaps","namespace":"default","name":"json","patchType":"application/json-patch+json","patch":[{"op":"add","path":"/data/c","value":"3"}]}`,
		`{"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"strategic","patchType":"application/strategic-merge-patch+json","patch":{"data":{"a":null,"d":"4"}}}`,
		`{"verb":"patch","patchType":"application/apply-patch+yaml","object":`+configMap("applied", `{"e":"5"}`)+`}`,
		`{"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"same","patchType":"application/merge-patch+json","patch":{"data":{"a":"1"}}}`,
		`{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"gone"}`,
		`{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"waits"}`,
		createOp(`{"apiVersion":"test.dev/v1beta1","kind":"Widget","metadata":{"name":"w","namespace":"default"},"spec":{"size":"small"}}`),
	))
	st := r.transaction(t)
	want := []string{"created", "created", "updated", "updated", "updated", "updated", "created", "unchanged", "deleted", "terminating", "created"}
	if len(st.Results) != len(want) {
		t.Fatalf("%d results: %s", len(st.Results), r.body)
	}
	next := before
	for i, res := range st.Results {
		if res.Outcome != want[i] {
			t.Errorf("operation %d: %s, want %s", i, res.Outcome, want[i])
		}
		var o map[string]any
		if err := json.Unmarshal(res.Object, &o); err != nil {
			t.Fatal(err)
		}
		rv, _ := at(o, "metadata.resourceVersion").(string)
		if res.Outcome != "unchanged" {
			if next++; rv != fmt.Sprint(next) {
				t.Errorf("operation %d: revision %s, want %d", i, rv, next)
			}
		}
		path := cms
		if at(o, "kind") == "Widget" {
			path = strings.Replace(widgets, "v1", "v1beta1", 1)
		}
		got := a.do("GET", path+"/"+at(o, "metadata.name").(string), "")
		if res.Outcome == "deleted" {
			if got.code != 404 {
				t.Errorf("operation %d: %d %s", i, got.code, got.body)
			}
		} else if string(got.body) != string(res.Object) {
			t.Errorf("operation %d answered\n%s\nstored is\n%s", i, res.Object, got.body)
		}
	}
	if st.ResourceVersion != fmt.Sprint(next) || a.store.Revision() != next {
		t.Errorf("resourceVersion %s, the store is at %d, want %d", st.ResourceVersion, a.store.Revision(), next)
	}
	for i, data := range map[int]string{2: `{"a":"2"}`, 3: `{"a":"1","b":"2"}`, 4: `{"a":"1","c":"3"}`, 5: `{"d":"4"}`, 6: `{"e":"5"}`} {
		if !strings.Contains(string(st.Results[i].Object), `"data":`+data) || !strings.Contains(string(st.Results[i].Object), `"manager":"me"`) {
			t.Errorf("operation %d: %s", i, st.Results[i].Object)
		}
	}
	if len(st.Results[10].Warnings) == 0 || r.header.Get("Warning") == "" {
		t.Errorf("no warning of a deprecated version: %v %v", st.Results[10].Warnings, r.header)
	}
}

// TestTransactionIsRefusedWhole: whatever is wrong with one operation, none is done, and each
// error is told.
func TestTransactionIsRefusedWhole(t *testing.T) {
	a := newTransactionAPI(t)
	live := a.must(201, "POST", cms, `{"metadata":{"name":"live"},"data":{"a":"1"}}`).object(t)
	uid := at(live, "metadata.uid").(string)
	good := createOp(configMap("good", `{"a":"1"}`))
	patch := `"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"live","patchType":"application/merge-patch+json","patch":{"data":{"a":"2"}}`
	for name, tc := range map[string]struct {
		op, user string
		query    string
		code     int
		causes   []string // field and a part of the message
	}{
		"exists":              {op: createOp(configMap("live", `{}`)), code: 409, causes: []string{"operations[1]", `configmaps "live" already exists`}},
		"not found":           {op: `{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"none"}`, code: 404, causes: []string{"operations[1]", `"none" not found`}},
		"revision":            {op: `{` + patch + `,"preconditions":{"resourceVersion":"1"}}`, code: 409, causes: []string{"operations[1]", "Precondition failed: ResourceVersion"}},
		"uid":                 {op: `{` + patch + `,"preconditions":{"uid":"another"}}`, code: 409, causes: []string{"operations[1]", "UID in precondition: another, UID in object meta: " + uid}},
		"delete uid":          {op: `{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"live","preconditions":{"uid":"another"}}`, code: 409, causes: []string{"operations[1]", "UID in precondition"}},
		"old revision":        {op: `{"verb":"update","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"live","namespace":"default","resourceVersion":"1"}}}`, code: 409, causes: []string{"operations[1]", "has been modified"}},
		"invalid":             {op: createOp(`{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"name":"w","namespace":"default"},"spec":{"size":"huge"}}`), code: 422, causes: []string{"operations[1].object.spec.size", "supported values"}},
		"no namespace":        {op: createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"nowhere"}}`), code: 404, causes: []string{"operations[1]", `namespaces "nowhere" not found`}},
		"namespace left out":  {op: createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`), code: 400, causes: []string{"operations[1]", "needs a namespace"}},
		"unknown kind":        {op: createOp(`{"apiVersion":"v9","kind":"What","metadata":{"name":"x"}}`), code: 400, causes: []string{"operations[1]", `no kind "What"`}},
		"twice":               {op: `{"verb":"patch","patchType":"application/apply-patch+yaml","object":` + configMap("good", `{}`) + `}`, query: "?fieldManager=me", code: 400, causes: []string{"operations[1]", "operations[0] writes the same object"}},
		"virtual":             {op: createOp(`{"apiVersion":"test.dev/v1","kind":"Echo","metadata":{"name":"x"}}`), code: 405, causes: []string{"operations[1]", "in a transaction"}},
		"strict":              {op: createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default"},"what":1}`), query: "?fieldValidation=Strict", code: 400, causes: []string{"operations[1]", `unknown field "what"`}},
		"apply needs manager": {op: `{"verb":"patch","patchType":"application/apply-patch+yaml","object":` + configMap("x", `{}`) + `}`, code: 422, causes: []string{"operations[1].object.fieldManager", "is required"}},
		"nobody":              {op: good, user: "nobody", code: 403, causes: []string{"operations[0]", `cannot create resource "configmaps"`, "operations[1]", "cannot create"}},
		"names differ":        {op: `{"verb":"update","name":"other","object":` + configMap("live", `{}`) + `}`, code: 400, causes: []string{"operations[1]", `name is "other"`}},
		"bad path":            {op: `{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"../x"}`, code: 400, causes: []string{"operations[1]", "may not contain"}},
		"two are wrong": {op: createOp(configMap("live", `{}`)) + "," + createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"none"}}`), code: 404,
			causes: []string{"operations[2]", `namespaces "none" not found`}},
		"two are judged": {op: createOp(`{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"name":"w","namespace":"default"},"spec":{"size":"huge"}}`) + "," + createOp(configMap("live", `{}`)), code: 422,
			causes: []string{"operations[1].object.spec.size", "supported values", "operations[2]", "already exists"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := a.store.Revision()
			header := []string{}
			if tc.user != "" {
				header = append(header, "X-User", tc.user)
			}
			r := a.do("POST", transactions+tc.query, body(good, tc.op), header...)
			if r.code != tc.code {
				t.Fatalf("%d, want %d: %s", r.code, tc.code, r.body)
			}
			st := r.status(t)
			if !strings.Contains(st.Message, "nothing was done: operations[") {
				t.Error(st.Message)
			}
			for i := 0; i < len(tc.causes); i += 2 {
				found := false
				for _, c := range st.Details.Causes {
					found = found || c.Field == tc.causes[i] && strings.Contains(c.Message, tc.causes[i+1])
				}
				if !found {
					t.Errorf("no cause at %s with %q: %+v", tc.causes[i], tc.causes[i+1], st.Details.Causes)
				}
			}
			if a.store.Revision() != before {
				t.Errorf("the store went from %d to %d", before, a.store.Revision())
			}
		})
	}
}

func TestMalformedTransactions(t *testing.T) {
	a := newTransactionAPI(t)
	many := make([]string, corev1.MaxOperations+1)
	for i := range many {
		many[i] = createOp(configMap(fmt.Sprint("c", i), "{}"))
	}
	for name, tc := range map[string]struct {
		body, want string
		code       int
	}{
		"nothing":         {`{}`, "operations: Required value", 422},
		"no object":       {`[]`, "unrecognized", 400},
		"another kind":    {`{"kind":"Pod"}`, "is a Pod", 400},
		"misspelt guard":  {`{"operations":[{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"x","precondition":{"uid":"1"}}]}`, "precondition", 400},
		"verb":            {`{"operations":[{"verb":"get"}]}`, `operations[0].verb: Unsupported value: "get"`, 422},
		"create nothing":  {`{"operations":[{"verb":"create"}]}`, "operations[0].object: Required", 422},
		"patch of what":   {`{"operations":[{"verb":"patch","patch":{}}]}`, "operations[0].patchType: Required", 422},
		"delete object":   {`{"operations":[{"verb":"delete","object":{}}]}`, "operations[0].object: Forbidden", 422},
		"guarded create":  {`{"operations":[{"verb":"create","object":{},"preconditions":{}}]}`, "operations[0].preconditions: Forbidden", 422},
		"scale":           {`{"operations":[{"verb":"update","object":{},"subresource":"scale"}]}`, "operations[0].subresource: Unsupported", 422},
		"too many":        {body(many...), "operations: Too many", 422},
		"patch in object": {`{"operations":[{"verb":"patch","patchType":"application/merge-patch+json","object":` + configMap("x", "{}") + `}]}`, "is in patch, not in object", 400},
	} {
		r := a.do("POST", transactions, tc.body)
		if r.code != tc.code || !strings.Contains(string(r.body), tc.want) && !strings.Contains(string(r.body), strings.ReplaceAll(tc.want, `"`, `\"`)) {
			t.Errorf("%s: %d %s, want %d and %q", name, r.code, r.body, tc.code, tc.want)
		}
	}
	if r := a.do("POST", transactions, strings.Repeat(" ", corev1.MaxBytes+1)); r.code != 413 {
		t.Errorf("a body too large: %d", r.code)
	}
	a.must(415, "POST", transactions, "x", "Content-Type", "text/plain")
	a.must(405, "GET", transactions, "")
	a.must(201, "POST", transactions, "operations:\n- verb: create\n  object: {apiVersion: v1, kind: ConfigMap, metadata: {name: yaml, namespace: default}}\n", "Content-Type", "application/yaml")
	a.must(200, "GET", cms+"/yaml", "")
}

// TestOperationsSeeThoseBefore: a namespace and what is in it are created at once, and what
// comes after the namespace's end is refused.
func TestOperationsSeeThoseBefore(t *testing.T) {
	a := newTransactionAPI(t)
	ns := createOp(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"app"}}`)
	cm := createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"app"}}`)
	a.must(404, "POST", transactions, body(cm, ns))
	a.must(404, "GET", "/api/v1/namespaces/app", "")
	for _, dry := range []string{"?dryRun=All", ""} {
		st := a.must(201, "POST", transactions+dry, body(ns, cm)).transaction(t)
		if st.Results[0].Outcome != "created" || st.Results[1].Outcome != "created" {
			t.Errorf("%+v", st)
		}
		if dry != "" {
			if st.ResourceVersion != "" || strings.Contains(string(st.Results[1].Object), "resourceVersion") {
				t.Errorf("a dry run has a revision: %s %s", st.ResourceVersion, st.Results[1].Object)
			}
			a.must(404, "GET", "/api/v1/namespaces/app", "")
		}
	}
	a.must(200, "GET", "/api/v1/namespaces/app/configmaps/c", "")
	r := a.must(403, "POST", transactions, body(
		`{"verb":"delete","apiVersion":"v1","kind":"Namespace","name":"app"}`,
		createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"late","namespace":"app"}}`)))
	if !strings.Contains(string(r.body), "is being terminated") {
		t.Error(string(r.body))
	}
	a.must(200, "GET", "/api/v1/namespaces/app", "")
}

func TestTransactionRoutesAndDiscoversAsAVirtualType(t *testing.T) {
	a := newTransactionAPI(t)
	a.must(403, "POST", transactions, body(createOp(configMap("x", "{}"))), "X-User", "nobody")
	a.must(401, "POST", transactions, body(createOp(configMap("x", "{}"))), "X-User", "unknown")
	a.must(404, "POST", transactions+"/x/y", "{}")
}

// TestTransactionWithFailingStore: the errors of the store have the codes of single writes.
func TestTransactionWithFailingStore(t *testing.T) {
	f := &failing{}
	a := newTransactionAPI(t, func(c *apiserver.Config) {
		f.Store = c.Store
		c.Store = f
	})
	for want, err := range map[int]error{503: store.ErrNotLeader, 504: store.ErrUnknownOutcome, 507: store.ErrNoSpace, 500: errors.New("x")} {
		f.transact = fmt.Errorf("transact: %w", err)
		a.must(want, "POST", transactions, body(createOp(configMap("x", "{}"))))
	}
	f.transact = nil
	a.must(201, "POST", transactions, body(createOp(configMap("x", "{}"))))
}
