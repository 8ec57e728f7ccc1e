package apiserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func widget(name, rest string) string {
	return fmt.Sprintf(`{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"name":%q},"spec":{"size":"small"%s}}`, name, rest)
}

func TestCreateGetDelete(t *testing.T) {
	a := newAPI(t)
	o := a.must(201, "POST", widgets, widget("w", `,"tags":["a"]`)).object(t)
	for path, want := range map[string]any{
		"metadata.namespace": "default", "metadata.generation": 1.0, "spec.replicas": 1.0, "kind": "Widget",
	} {
		if got := at(o, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if at(o, "metadata.uid") == nil || at(o, "metadata.creationTimestamp") == nil || at(o, "metadata.resourceVersion") == "" {
		t.Errorf("metadata %v", o["metadata"])
	}
	got := a.must(200, "GET", widgets+"/w", "")
	if at(got.object(t), "metadata.uid") != at(o, "metadata.uid") {
		t.Error("get returns another object")
	}
	d := a.must(200, "DELETE", widgets+"/w", "").object(t)
	if d["status"] != "Success" || at(d, "details.uid") != at(o, "metadata.uid") {
		t.Errorf("delete: %v", d)
	}
	a.must(404, "GET", widgets+"/w", "")
}

func TestErrors(t *testing.T) {
	a := newAPI(t, nil...)
	a.must(201, "POST", widgets, widget("w", ""))
	big := `{"metadata":{"name":"x"},"data":{"k":"` + strings.Repeat("x", 1<<20) + `"}}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		reason                   any
		message                  string
	}{
		{"malformed", "POST", widgets, `{"metadata":`, nil, 400, "BadRequest", "json parse error"},
		{"not an object", "POST", widgets, `[]`, nil, 400, "BadRequest", "couldn't get version/kind; json parse error: json: cannot unmarshal array"},
		{"wrong kind", "POST", widgets, `{"kind":"Pod","apiVersion":"test.dev/v1"}`, nil, 422, "Invalid", `kind: Invalid value: "Pod": must be Widget`},
		{"wrong version", "POST", widgets, `{"kind":"Widget","apiVersion":"test.dev/v2"}`, nil, 400, "BadRequest", "does not match the expected API version (test.dev/v1)"},
		{"unknown strict", "POST", widgets + "?fieldValidation=Strict", widget("x", `,"foo":1`), nil, 400, "BadRequest", `strict decoding error: unknown field "spec.foo"`},
		{"duplicate strict", "POST", widgets + "?fieldValidation=Strict", widget("x", `,"size":"small"`), nil, 400, "BadRequest", `duplicate field "spec.size"`},
		{"bad fieldValidation", "POST", widgets + "?fieldValidation=Hard", widget("x", ""), nil, 422, "Invalid", "fieldValidation"},
		{"too large", "POST", cms, big, nil, 413, "RequestEntityTooLarge", "limit is 1048576"},
		{"exists", "POST", widgets, widget("w", ""), nil, 409, "AlreadyExists", `widgets.test.dev "w" already exists`},
		{"no namespace", "POST", "/apis/test.dev/v1/namespaces/nope/widgets", widget("x", ""), nil, 404, "NotFound", `namespaces "nope" not found`},
		{"namespace differs", "POST", widgets, `{"metadata":{"name":"x","namespace":"other"},"spec":{}}`, nil, 400, "BadRequest", "does not match the namespace sent on the request"},
		{"invalid", "POST", widgets, `{"metadata":{"name":"x"},"spec":{"size":"huge","replicas":-1}}`, nil, 422, "Invalid", "spec.size"},
		{"bad name", "POST", widgets, `{"metadata":{"name":"X_"},"spec":{}}`, nil, 422, "Invalid", "metadata.name: Invalid value"},
		{"no name", "POST", widgets, `{"spec":{}}`, nil, 422, "Invalid", "name or generateName is required"},
		{"bad label", "POST", widgets, `{"metadata":{"name":"x","labels":{"a b":"c"}},"spec":{}}`, nil, 422, "Invalid", "metadata.labels"},
		{"rv on create", "POST", widgets, `{"metadata":{"name":"x","resourceVersion":"5"},"spec":{}}`, nil, 500, nil, "resourceVersion should not be set on objects to be created"},
		{"create of another name", "POST", widgets + "/x", widget("y", ""), nil, 400, "BadRequest", "the name of the object (y) does not match the name on the URL (x)"},
		{"create of a made up name", "POST", widgets + "/x", `{"metadata":{"generateName":"y"},"spec":{}}`, nil, 400, "BadRequest", "the name of the object () does not match the name on the URL (x)"},
		{"create by name", "POST", cms + "/x", `{"metadata":{"name":"x"}}`, nil, 405, "MethodNotAllowed", ""},
		{"update without name", "PUT", widgets, widget("x", ""), nil, 400, "BadRequest", "name must be provided"},
		{"patch without name", "PATCH", widgets, `{}`, []string{"Content-Type", "application/merge-patch+json"}, 400, "BadRequest", "name must be provided"},
		{"rv that is no number", "PUT", widgets + "/w", `{"metadata":{"name":"w","resourceVersion":"abc"},"spec":{}}`, nil, 500, nil, `strconv.ParseUint: parsing "abc": invalid syntax`},
		{"metadata is a list", "POST", cms, `{"metadata":[]}`, nil, 400, "BadRequest", "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta"},
		{"stale", "PUT", widgets + "/w", `{"metadata":{"name":"w","resourceVersion":"1"},"spec":{}}`, nil, 409, "Conflict", "the object has been modified; please apply your changes"},
		{"no rv", "PUT", widgets + "/w", `{"metadata":{"name":"w"},"spec":{}}`, nil, 422, "Invalid", "must be specified for an update"},
		{"update missing", "PUT", widgets + "/none", `{"metadata":{"name":"none","resourceVersion":"1"},"spec":{}}`, nil, 404, "NotFound", `"none" not found`},
		{"name differs", "PUT", cms + "/a", `{"metadata":{"name":"b"}}`, nil, 404, "NotFound", ""},
		{"bad patch", "PATCH", widgets + "/w", `{`, []string{"Content-Type", "application/merge-patch+json"}, 400, "BadRequest", "error decoding patch"},
		{"strategic on custom", "PATCH", widgets + "/w", `{}`, []string{"Content-Type", "application/strategic-merge-patch+json"}, 415, "UnsupportedMediaType", "application/json-patch+json"},
		{"apply without manager", "PATCH", widgets + "/w", `{}`, []string{"Content-Type", "application/apply-patch+yaml"}, 422, "Invalid", "is required for apply patch"},
		{"body format", "POST", widgets, `x`, []string{"Content-Type", "text/plain"}, 415, "UnsupportedMediaType", ""},
		{"accept", "GET", widgets + "/w", "", []string{"Accept", "text/html"}, 406, "NotAcceptable", "only the following media types are accepted"},
		{"forbidden", "GET", widgets + "/w", "", []string{"X-User", "nobody"}, 403, "Forbidden", `widgets.test.dev "w" is forbidden: User "nobody" cannot get resource "widgets" in API group "test.dev" in the namespace "default"`},
		{"forbidden path", "GET", "/metrics", "", []string{"X-User", "nobody"}, 403, "Forbidden", `forbidden: User "nobody" cannot get path "/metrics"`},
		{"unauthorized", "GET", widgets, "", []string{"X-User", "unknown"}, 401, "Unauthorized", "Unauthorized"},
		{"no such type", "GET", "/apis/test.dev/v1/namespaces/default/gadgets", "", nil, 404, "NotFound", "the server could not find the requested resource"},
		{"create all namespaces", "POST", "/apis/test.dev/v1/widgets", widget("x", ""), nil, 405, "MethodNotAllowed", ""},
		{"unknown selector", "GET", widgets + "?fieldSelector=spec.nope%3D1", "", nil, 400, "BadRequest", "field label not supported: spec.nope"},
		{"bad selector", "GET", widgets + "?labelSelector=a+in", "", nil, 400, "BadRequest", "unable to parse requirement"},
		{"bad continue", "GET", widgets + "?continue=xx", "", nil, 400, "BadRequest", "continue key is not valid"},
		{"future", "GET", widgets + "?resourceVersion=99999999", "", nil, 504, "Timeout", "Too large resource version"},
		{"bad rv", "GET", widgets + "?resourceVersion=x", "", nil, 400, "BadRequest", "Invalid value"},
		{"match without rv", "GET", widgets + "?resourceVersionMatch=Exact", "", nil, 422, "Invalid", "resourceVersionMatch is forbidden unless resourceVersion is provided"},
		{"delete uid", "DELETE", widgets + "/w", `{"preconditions":{"uid":"other"}}`, nil, 409, "Conflict", "Precondition failed: UID in precondition: other"},
		{"delete missing", "DELETE", widgets + "/none", "", nil, 404, "NotFound", ""},
		{"dry run value", "POST", widgets + "?dryRun=Some", widget("x", ""), nil, 422, "Invalid", "dryRun"},
		{"impersonation", "GET", widgets, "", []string{"X-User", "nobody", "Impersonate-User", "root"}, 403, "Forbidden", `cannot impersonate-on:user-info:list resource "widgets"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := a.do(c.method, c.path, c.body, c.header...)
			o := r.object(t)
			message, _ := o["message"].(string)
			if r.code != c.code || o["reason"] != c.reason || !strings.Contains(message, c.message) || o["kind"] != "Status" {
				t.Errorf("%d %s", r.code, r.body)
			}
		})
	}
	if r := a.must(200, "GET", widgets+"/w", ""); at(r.object(t), "metadata.generation") != 1.0 {
		t.Error("a refused write has changed the object")
	}
}

func TestUnknownFieldsWarnAndAreDropped(t *testing.T) {
	a := newAPI(t)
	r := a.must(201, "POST", widgets, widget("w", `,"foo":1`))
	if got := r.header.Get("Warning"); got != `299 - "unknown field \"spec.foo\""` {
		t.Errorf("warning %q", got)
	}
	if at(r.object(t), "spec.foo") != nil {
		t.Error("the unknown field was kept")
	}
	r = a.must(201, "POST", widgets+"?fieldValidation=Ignore", widget("x", `,"foo":1`))
	if r.header.Get("Warning") != "" {
		t.Error("warned although told to ignore")
	}
}

func TestGenerateName(t *testing.T) {
	a := newAPI(t)
	seen := map[string]bool{}
	for range 3 {
		o := a.must(201, "POST", cms, `{"metadata":{"generateName":"gen-"}}`).object(t)
		name, _ := at(o, "metadata.name").(string)
		if !strings.HasPrefix(name, "gen-") || len(name) != 9 || seen[name] {
			t.Errorf("name %q", name)
		}
		seen[name] = true
		a.must(200, "GET", cms+"/"+name, "")
	}
}

func TestUpdate(t *testing.T) {
	a := newAPI(t)
	first := a.must(201, "POST", widgets, widget("w", ""))
	body := strings.Replace(string(first.body), `"replicas":1`, `"replicas":3`, 1)
	second := a.must(200, "PUT", widgets+"/w", body)
	o := second.object(t)
	if at(o, "spec.replicas") != 3.0 || at(o, "metadata.generation") != 2.0 {
		t.Errorf("update: %s", second.body)
	}
	a.must(409, "PUT", widgets+"/w", body)

	again := a.must(200, "PUT", widgets+"/w", string(second.body))
	if string(again.body) != string(second.body) {
		t.Errorf("an update that changes nothing was written:\n%s\n%s", second.body, again.body)
	}
	labelled := strings.Replace(string(second.body), `"name":"w"`, `"name":"w","labels":{"a":"b"}`, 1)
	third := a.must(200, "PUT", widgets+"/w", labelled).object(t)
	if at(third, "metadata.generation") != 2.0 || at(third, "metadata.labels.a") != "b" {
		t.Error("labels do not count for the generation")
	}
}

func TestUpdateWithoutRevisionOfBuiltin(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", cms, `{"metadata":{"name":"c"},"data":{"a":"0"}}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if r := a.do("PUT", cms+"/c", fmt.Sprintf(`{"metadata":{"name":"c"},"data":{"a":"%d"}}`, i+1)); r.code != 200 {
				t.Errorf("update: %d %s", r.code, r.body)
			}
		})
	}
	wg.Wait()
}

func TestStatusSubresource(t *testing.T) {
	a := newAPI(t)
	o := a.must(201, "POST", widgets, `{"metadata":{"name":"w"},"spec":{"size":"small"},"status":{"phase":"Forged"}}`)
	if at(o.object(t), "status") != nil {
		t.Error("a create has set the status")
	}
	body := strings.Replace(string(o.body), `"size":"small"}`, `"size":"large"},"status":{"phase":"Ready"}`, 1)
	s := a.must(200, "PUT", widgets+"/w/status", body).object(t)
	if at(s, "status.phase") != "Ready" || at(s, "spec.size") != "small" || at(s, "metadata.generation") != 1.0 {
		t.Errorf("status write: %v", s)
	}
	p := a.must(200, "PATCH", widgets+"/w", `{"spec":{"size":"large"},"status":{"phase":"Forged"}}`, "Content-Type", "application/merge-patch+json").object(t)
	if at(p, "status.phase") != "Ready" || at(p, "spec.size") != "large" {
		t.Errorf("main write: %v", p)
	}
	p = a.must(200, "PATCH", widgets+"/w/status", `{"status":{"phase":"Done"}}`, "Content-Type", "application/merge-patch+json").object(t)
	if at(p, "status.phase") != "Done" {
		t.Errorf("status patch: %v", p)
	}
}

func TestScale(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, widget("w", `,"replicas":2`))
	s := a.must(200, "GET", widgets+"/w/scale", "")
	if o := s.object(t); o["kind"] != "Scale" || o["apiVersion"] != "autoscaling/v1" || at(o, "spec.replicas") != 2.0 {
		t.Errorf("scale %s", s.body)
	}
	r := a.must(200, "PUT", widgets+"/w/scale", strings.Replace(string(s.body), `"spec":{"replicas":2}`, `"spec":{"replicas":5}`, 1)).object(t)
	if at(r, "spec.replicas") != 5.0 {
		t.Errorf("scale %v", r)
	}
	a.must(200, "PATCH", widgets+"/w/scale", `{"spec":{"replicas":7}}`, "Content-Type", "application/merge-patch+json")
	if o := a.must(200, "GET", widgets+"/w", "").object(t); at(o, "spec.replicas") != 7.0 || at(o, "metadata.generation") != 3.0 {
		t.Errorf("object %v", o)
	}
	a.must(422, "PATCH", widgets+"/w/scale", `{"spec":{"replicas":-1}}`, "Content-Type", "application/merge-patch+json")
	a.must(404, "GET", cms+"/x/scale", "")
}

func TestGracefulDeletion(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", pods, `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}`)
	o := a.must(200, "DELETE", pods+"/p", "").object(t)
	if at(o, "metadata.deletionTimestamp") == nil || at(o, "metadata.deletionGracePeriodSeconds") != 30.0 {
		t.Fatalf("not marked: %v", o)
	}
	o = a.must(200, "DELETE", pods+"/p", `{"gracePeriodSeconds":5}`).object(t)
	if at(o, "metadata.deletionGracePeriodSeconds") != 5.0 {
		t.Errorf("not shortened: %v", o)
	}
	o = a.must(200, "DELETE", pods+"/p", `{"gracePeriodSeconds":60}`).object(t)
	if at(o, "metadata.deletionGracePeriodSeconds") != 5.0 {
		t.Errorf("prolonged: %v", o)
	}
	a.must(200, "DELETE", pods+"/p?gracePeriodSeconds=0", "")
	a.must(404, "GET", pods+"/p", "")
}

func TestFinalizers(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, `{"metadata":{"name":"w","finalizers":["test.dev/hold"]},"spec":{}}`)
	o := a.must(200, "DELETE", widgets+"/w", "").object(t)
	if at(o, "metadata.deletionTimestamp") == nil {
		t.Fatalf("not marked: %v", o)
	}
	a.must(422, "PATCH", widgets+"/w", `{"metadata":{"finalizers":["test.dev/hold","test.dev/more"]}}`, "Content-Type", "application/merge-patch+json")
	a.must(200, "PATCH", widgets+"/w", `{"metadata":{"finalizers":null}}`, "Content-Type", "application/merge-patch+json")
	a.must(404, "GET", widgets+"/w", "")

	a.must(201, "POST", widgets, widget("f", ""))
	o = a.must(200, "DELETE", widgets+"/f", `{"propagationPolicy":"Foreground"}`).object(t)
	if list, _ := at(o, "metadata.finalizers").([]any); len(list) != 1 || list[0] != "foregroundDeletion" {
		t.Errorf("foreground deletion: %v", o)
	}
	o = a.must(200, "DELETE", widgets+"/f", `{"propagationPolicy":"Background"}`).object(t)
	if o["status"] != "Success" {
		t.Errorf("background after foreground: %v", o)
	}
}

func TestNamespaceLifecycle(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", "/api/v1/namespaces", `{"metadata":{"name":"ns"}}`)
	a.must(201, "POST", "/api/v1/namespaces/ns/configmaps", `{"metadata":{"name":"c"}}`)
	o := a.must(200, "DELETE", "/api/v1/namespaces/ns", "")
	if at(o.object(t), "status.phase") != "Terminating" {
		t.Fatalf("namespace: %s", o.body)
	}
	r := a.must(403, "POST", "/api/v1/namespaces/ns/configmaps", `{"metadata":{"name":"d"}}`).object(t)
	causes, _ := at(r, "details.causes").([]any)
	if len(causes) != 1 || at(causes[0], "reason") != "NamespaceTerminating" {
		t.Errorf("refusal: %v", r)
	}
	a.must(200, "DELETE", "/api/v1/namespaces/ns/configmaps", "")
	ns := strings.Replace(string(a.must(200, "GET", "/api/v1/namespaces/ns", "").body), `"finalizers":["kubernetes"]`, `"finalizers":[]`, 1)
	a.must(200, "PUT", "/api/v1/namespaces/ns/finalize", ns)
	a.must(404, "GET", "/api/v1/namespaces/ns", "")
}

func TestDeleteCollection(t *testing.T) {
	a := newAPI(t)
	for i := range 20 {
		a.must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"c%d","labels":{"odd":"%t"}}}`, i, i%2 == 1))
	}
	a.must(200, "DELETE", cms+"?labelSelector=odd%3Dtrue", "")
	if o := a.must(200, "GET", cms, "").object(t); len(o["items"].([]any)) != 10 {
		t.Errorf("%d left", len(o["items"].([]any)))
	}
}

func TestDryRun(t *testing.T) {
	a := newAPI(t)
	o := a.must(201, "POST", widgets+"?dryRun=All", widget("w", "")).object(t)
	if at(o, "metadata.uid") == nil || at(o, "metadata.resourceVersion") != nil {
		t.Errorf("dry run: %v", o)
	}
	a.must(404, "GET", widgets+"/w", "")
	a.must(201, "POST", widgets, widget("w", ""))
	a.must(409, "POST", widgets+"?dryRun=All", widget("w", ""))
	before := a.must(200, "GET", widgets+"/w", "")
	p := a.must(200, "PATCH", widgets+"/w?dryRun=All", `{"spec":{"size":"large"}}`, "Content-Type", "application/merge-patch+json").object(t)
	if at(p, "spec.size") != "large" || at(p, "metadata.resourceVersion") != at(before.object(t), "metadata.resourceVersion") {
		t.Errorf("dry run: %v", p)
	}
	a.must(200, "DELETE", widgets+"/w?dryRun=All", "")
	if after := a.must(200, "GET", widgets+"/w", ""); string(after.body) != string(before.body) {
		t.Error("a dry run has changed the object")
	}
}

// TestDryRunOfConverted dry runs what is stored in the form of another version.
func TestDryRunOfConverted(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{notes, otherNotes} {
		field, about := map[string]string{notes: "about", otherNotes: "regarding"}[path], map[string]any{"name": "p"}
		body := func(o map[string]any) string { o[field] = about; return compactTree(o) }
		created := a.must(201, "POST", path+"?dryRun=All", body(map[string]any{"metadata": map[string]any{"name": "n"}})).object(t)
		a.must(201, "POST", path, body(map[string]any{"metadata": map[string]any{"name": "n"}}))
		patched := a.must(200, "PATCH", path+"/n?dryRun=All", `{"metadata":{"labels":{"a":"b"}}}`, "Content-Type", mergePatch).object(t)
		removed := a.must(200, "DELETE", path+"/n?dryRun=All", "").object(t)
		stored := a.must(200, "GET", path+"/n", "").object(t)
		a.must(200, "DELETE", path+"/n", "")
		for what, o := range map[string]map[string]any{"create": created, "patch": patched, "delete": removed, "get": stored} {
			if o["kind"] != "Status" && (o["apiVersion"] != stored["apiVersion"] || at(o, field+".name") != "p") {
				t.Errorf("%s: %s answers with %v", path, what, o)
			}
		}
	}
}

func TestBindingSubresource(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", pods, `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}`)
	s := a.must(201, "POST", pods+"/p/binding", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}`).object(t)
	if s["kind"] != "Status" || s["status"] != "Success" {
		t.Errorf("binding: %v", s)
	}
	if o := a.must(200, "GET", pods+"/p", "").object(t); at(o, "spec.nodeName") != "n1" {
		t.Errorf("pod: %v", o)
	}
	if o := a.must(200, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "").object(t); len(o["items"].([]any)) != 1 {
		t.Errorf("selected: %v", o)
	}
	if o := a.must(200, "GET", "/api/v1/pods?fieldSelector=spec.hostNetwork%3Dfalse", "").object(t); len(o["items"].([]any)) != 1 {
		t.Error("an absent boolean is not false")
	}
}

func TestVirtual(t *testing.T) {
	a := newAPI(t)
	o := a.must(201, "POST", "/apis/test.dev/v1/echoes", `{"kind":"Echo","apiVersion":"test.dev/v1","spec":{"x":1}}`).object(t)
	if at(o, "status.user") != "root" || at(o, "spec.x") != 1.0 {
		t.Errorf("echo: %v", o)
	}
	a.must(405, "GET", "/apis/test.dev/v1/echoes", "")
	o = a.must(201, "POST", "/apis/test.dev/v1/echoes", `{"spec":{}}`, "Impersonate-User", "eve").object(t)
	if at(o, "status.user") != "eve" {
		t.Errorf("impersonation: %v", o)
	}
}

func TestOtherVersion(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, widget("w", ""))
	r := a.must(200, "GET", "/apis/test.dev/v1beta1/namespaces/default/widgets/w", "")
	if r.object(t)["apiVersion"] != "test.dev/v1beta1" || r.header.Get("Warning") == "" {
		t.Errorf("%s %v", r.body, r.header)
	}
	a.must(200, "PUT", "/apis/test.dev/v1beta1/namespaces/default/widgets/w", strings.Replace(string(r.body), "small", "large", 1))
	if o := a.must(200, "GET", widgets+"/w", "").object(t); o["apiVersion"] != "test.dev/v1" || at(o, "spec.size") != "large" {
		t.Errorf("%v", o)
	}
}
