package apiserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestPatchTypes(t *testing.T) {
	a := newAPI(t)
	const start = `{"metadata":{"name":"p","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x","image":"i:1","env":[{"name":"A","value":"1"}]},{"name":"y","image":"j:1"}]}}`
	for i, c := range []struct {
		name, kind, patch string
		code              int
		path              string
		want              any
	}{
		{"merge sets", "merge-patch+json", `{"metadata":{"labels":{"c":"3"}}}`, 200, "metadata.labels", map[string]any{"a": "1", "b": "2", "c": "3"}},
		{"merge removes", "merge-patch+json", `{"metadata":{"labels":{"a":null}}}`, 200, "metadata.labels", map[string]any{"b": "2"}},
		{"merge replaces lists", "merge-patch+json", `{"spec":{"containers":[{"name":"z"}]}}`, 200, "spec.containers", []any{map[string]any{"name": "z"}}},
		{"strategic merges lists by key", "strategic-merge-patch+json", `{"spec":{"containers":[{"name":"x","image":"i:2"}]}}`, 200, "spec.containers",
			[]any{map[string]any{"name": "x", "image": "i:2", "env": []any{map[string]any{"name": "A", "value": "1"}}}, map[string]any{"name": "y", "image": "j:1"}}},
		{"strategic deletes an item", "strategic-merge-patch+json", `{"spec":{"containers":[{"name":"x","$patch":"delete"}]}}`, 200, "spec.containers", []any{map[string]any{"name": "y", "image": "j:1"}}},
		{"json replaces", "json-patch+json", `[{"op":"replace","path":"/spec/containers/1/image","value":"j:9"},{"op":"test","path":"/metadata/name","value":"p5"}]`, 200, "spec.nodeName", nil},
		{"json test fails", "json-patch+json", `[{"op":"test","path":"/metadata/name","value":"q"}]`, 422, "reason", "Invalid"},
		{"json bad path", "json-patch+json", `[{"op":"remove","path":"/spec/none"}]`, 422, "reason", "Invalid"},
		{"json no patch", "json-patch+json", `{}`, 400, "reason", "BadRequest"},
		{"kind", "merge-patch+json", `{"kind":"Other"}`, 422, "reason", "Invalid"},
		{"uid", "merge-patch+json", `{"metadata":{"uid":"other"}}`, 422, "reason", "Invalid"},
		{"stale", "merge-patch+json", `{"metadata":{"resourceVersion":"1"}}`, 409, "reason", "Conflict"},
		{"unknown strict", "merge-patch+json?fieldValidation=Strict", `{"spec":{"nope":1}}`, 422, "reason", "Invalid"},
		{"strategic unknown strict", "strategic-merge-patch+json?fieldValidation=Strict", `{"spec":{"nope":1}}`, 422, "message",
			` "" is invalid: patch: Invalid value: "map[spec:map[nope:1]]": strict decoding error: unknown field "spec.nope"`},
		{"strategic wrong type", "strategic-merge-patch+json", `{"spec":{"nodeName":1}}`, 422, "reason", "Invalid"},
		{"merge wrong type", "merge-patch+json", `{"spec":{"nodeName":1}}`, 422, "reason", "Invalid"},
		{"json wrong type", "json-patch+json", `[{"op":"add","path":"/spec/nodeName","value":1}]`, 422, "reason", "Invalid"},
		{"json does not fit", "json-patch+json", `[{"op":"remove","path":"/spec/none"}]`, 422, "message", "the server rejected our request due to an error in our request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprintf("p%d", i)
			a.must(201, "POST", pods, strings.Replace(start, `"name":"p"`, `"name":"`+name+`"`, 1))
			kind, query, _ := strings.Cut(c.kind, "?")
			if query != "" {
				query = "?" + query
			}
			r := a.must(c.code, "PATCH", pods+"/"+name+query, c.patch, "Content-Type", "application/"+kind)
			if got := at(r.object(t), c.path); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s = %v, want %v", c.path, got, c.want)
			}
		})
	}
}

func TestConcurrentPatchesAllLand(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", cms, `{"metadata":{"name":"c"}}`)
	answers := make([]answer, 10)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = a.do("PATCH", cms+"/c", fmt.Sprintf(`{"data":{"k%d":"v"}}`, i), "Content-Type", "application/merge-patch+json")
		})
	}
	wg.Wait()
	o := a.must(200, "GET", cms+"/c", "").object(t)
	data, _ := at(o, "data").(map[string]any)
	seen := map[any]bool{}
	for i, r := range answers {
		rv := at(r.object(t), "metadata.resourceVersion")
		if r.code != 200 || data[fmt.Sprintf("k%d", i)] != "v" || seen[rv] {
			t.Errorf("patch %d is not in the object: %d %s", i, r.code, r.body)
		}
		seen[rv] = true
	}
	if t.Failed() {
		t.Logf("the object: %v", o)
	}
}

func (a *api) apply(code int, path, manager, config string, query ...string) answer {
	a.t.Helper()
	return a.must(code, "PATCH", path+"?fieldManager="+manager+strings.Join(query, ""), config, "Content-Type", "application/apply-patch+yaml")
}

func TestServerSideApply(t *testing.T) {
	a := newAPI(t)
	r := a.apply(201, widgets+"/w", "alice", "apiVersion: test.dev/v1\nkind: Widget\nmetadata: {name: w}\nspec:\n  size: small\n  parts: [{name: a, count: 1}]\n")
	if at(r.object(t), "spec.replicas") != 1.0 {
		t.Errorf("defaults: %s", r.body)
	}
	// Another manager adds an item of its own.
	r = a.apply(200, widgets+"/w", "bob", `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{"parts":[{"name":"b","count":2}]}}`)
	if parts, _ := at(r.object(t), "spec.parts").([]any); len(parts) != 2 {
		t.Errorf("parts of two managers: %s", r.body)
	}
	// A field that another owns is a conflict, which can be forced.
	conflict := `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{"size":"large","parts":[{"name":"b","count":2}]}}`
	r = a.apply(409, widgets+"/w", "bob", conflict)
	causes, _ := at(r.object(t), "details.causes").([]any)
	if len(causes) != 1 || at(causes[0], "reason") != "FieldManagerConflict" || at(causes[0], "field") != ".spec.size" || !strings.Contains(string(r.body), `conflict with \"alice\"`) {
		t.Errorf("conflict: %s", r.body)
	}
	r = a.apply(200, widgets+"/w", "bob", conflict, "&force=true")
	if at(r.object(t), "spec.size") != "large" {
		t.Errorf("forced: %s", r.body)
	}
	// What a manager no longer applies goes, unless another has it too.
	r = a.apply(200, widgets+"/w", "bob", `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{"size":"large"}}`)
	if parts, _ := at(r.object(t), "spec.parts").([]any); len(parts) != 1 || at(parts[0], "name") != "a" {
		t.Errorf("parts left: %s", r.body)
	}
	before := r
	r = a.apply(200, widgets+"/w", "bob", `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{"size":"large"}}`)
	if string(before.body) != string(r.body) {
		t.Errorf("applying the same again was written:\n%s\n%s", before.body, r.body)
	}
	r = a.apply(500, widgets+"/w", "bob", `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{"nope":1}}`, "&fieldValidation=Strict")
	if !strings.Contains(string(r.body), "nope") {
		t.Errorf("%s", r.body)
	}
	a.apply(400, widgets+"/w", "bob", `{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"managedFields":[{}]}}`)
}

func TestApplyNeedsPermissionToCreate(t *testing.T) {
	a := newAPI(t)
	a.must(403, "PATCH", widgets+"/w?fieldManager=x", `{"apiVersion":"test.dev/v1","kind":"Widget","spec":{}}`,
		"Content-Type", "application/apply-patch+yaml", "X-User", "nobody")
}

// owners returns, by manager, the fields that it has.
func owners(t *testing.T, o map[string]any) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, _ := at(o, "metadata.managedFields").([]any)
	for _, e := range list {
		b, err := json.Marshal(at(e, "fieldsV1"))
		if err != nil {
			t.Fatal(err)
		}
		sub, _ := at(e, "subresource").(string)
		out[fmt.Sprint(at(e, "manager"), "/", at(e, "operation"), "/", sub)] = string(b)
	}
	return out
}

func TestManagedFieldsOfUpdates(t *testing.T) {
	a := newAPI(t)
	o := a.must(201, "POST", cms, `{"metadata":{"name":"c","labels":{"l":"1"}},"data":{"a":"1","b":"2"}}`)
	want := map[string]string{"tester/Update/": `{"f:data":{".":{},"f:a":{},"f:b":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}`}
	if got := owners(t, o.object(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("create:\n%v\n%v", got, want)
	}
	r := a.must(200, "PATCH", cms+"/c?fieldManager=other", `{"data":{"b":"3","c":"4"}}`, "Content-Type", "application/merge-patch+json")
	want = map[string]string{
		"tester/Update/": `{"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}`,
		"other/Update/":  `{"f:data":{"f:b":{},"f:c":{}}}`,
	}
	if got := owners(t, r.object(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("patch:\n%v\n%v", got, want)
	}
	// A client that drops managedFields does not lose them; one that empties them does.
	r = a.must(200, "PUT", cms+"/c", `{"metadata":{"name":"c"},"data":{"c":"4"}}`)
	want = map[string]string{"tester/Update/": `{"f:data":{}}`, "other/Update/": `{"f:data":{"f:c":{}}}`}
	if got := owners(t, r.object(t)); len(got) != 2 || got["other/Update/"] != want["other/Update/"] {
		t.Errorf("update:\n%v\n%v", got, want)
	}
	r = a.must(200, "PATCH", cms+"/c", `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`, "Content-Type", "application/json-patch+json")
	if got := owners(t, r.object(t)); len(got) != 0 {
		t.Errorf("reset: %v", got)
	}
}

func TestStatusHasOwnersOfItsOwn(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, widget("w", ""))
	r := a.must(200, "PATCH", widgets+"/w/status?fieldManager=ctl", `{"status":{"phase":"Ready"}}`, "Content-Type", "application/merge-patch+json")
	got := owners(t, r.object(t))
	if got["ctl/Update/status"] != `{"f:status":{".":{},"f:phase":{}}}` || len(got) != 2 {
		t.Errorf("owners %v", got)
	}
}

func FuzzPatch(f *testing.F) {
	a := newAPI(f)
	a.must(201, "POST", pods, `{"metadata":{"name":"p","labels":{"a":"1"}},"spec":{"containers":[{"name":"x","image":"i:1"}]}}`)
	kinds := []string{"merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"}
	f.Add(byte(0), `{"metadata":{"labels":{"a":null}}}`)
	f.Add(byte(1), `{"spec":{"containers":[{"name":"x","$patch":"delete"},{"$patch":"replace"}],"$setElementOrder/containers":[{"name":"x"}]}}`)
	f.Add(byte(1), `{"spec":{"$retainKeys":["a"],"containers":[null,1,{}]}}`)
	f.Add(byte(2), `[{"op":"move","from":"/spec","path":"/spec/containers/0"},{"op":"add","path":"/metadata/labels/-","value":{}}]`)
	f.Add(byte(2), `[{"op":"replace","path":"","value":null}]`)
	f.Add(byte(3), `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"x"},{"name":"x"}]}}`)
	f.Fuzz(func(t *testing.T, kind byte, patch string) {
		r := a.On(t).Do("PATCH", pods+"/p?dryRun=All&fieldManager=f", patch, "Content-Type", "application/"+kinds[int(kind)%len(kinds)])
		if r.Code == 500 && bytes.Contains(r.Body, []byte(`"reason"`)) { // upstream gives no reason to what can not be applied
			t.Fatalf("%s %q: %s", kinds[int(kind)%len(kinds)], patch, r.Body)
		}
	})
}
