package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/store"
)

const (
	notes      = "/api/v1/namespaces/default/notes"
	otherNotes = "/apis/notes.test.dev/v1/namespaces/default/notes"
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml"
)

func namesOf(list map[string]any) string {
	var names []string
	items, _ := list["items"].([]any)
	for _, i := range items {
		names = append(names, fmt.Sprint(at(i, "metadata.name")))
	}
	return strings.Join(names, " ")
}

// Types that share a bucket name the same fields differently: selectors mean the form in
// which the objects are asked for, whatever form they came in.
func TestSelectorsOfSharedBuckets(t *testing.T) {
	a := newAPI(t)
	core := a.watch(notes + "?watch=true&fieldSelector=about.name%3Dp")
	other := a.watch(otherNotes + "?watch=true&fieldSelector=regarding.name%3Dp")
	a.must(201, "POST", notes, `{"metadata":{"name":"a"},"about":{"name":"p"}}`)
	a.must(201, "POST", otherNotes, `{"metadata":{"name":"b"},"regarding":{"name":"p"}}`)
	a.must(201, "POST", otherNotes, `{"metadata":{"name":"c"},"regarding":{"name":"q"}}`)
	for _, c := range []struct{ path, want string }{
		{notes + "?fieldSelector=about.name%3Dp", "a b"},
		{otherNotes + "?fieldSelector=regarding.name%3Dp", "a b"},
		{notes + "?fieldSelector=about.name%3Dq", "c"},
		{notes + "?fieldSelector=about.name%3Dp,metadata.name%3Db", "b"},
		{notes + "?fieldSelector=about.name%3Dp&limit=1", "a"},
	} {
		if got := namesOf(a.must(200, "GET", c.path, "").object(t)); got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
	core.expect("ADDED a", "ADDED b")
	other.expect("ADDED a", "ADDED b")
	a.must(200, "PATCH", otherNotes+"/b", `{"regarding":{"name":"q"}}`, "Content-Type", mergePatch)
	a.must(200, "PATCH", notes+"/a", `{"about":{"name":"q"}}`, "Content-Type", mergePatch)
	core.expect("DELETED b", "DELETED a")
	other.expect("DELETED b", "DELETED a")
}

func TestHookThatCannotBeAsked(t *testing.T) {
	a := newAPI(t)
	r := a.must(503, "POST", "/apis/test.dev/v1/namespaces/default/doubts", `{"metadata":{"name":"d"}}`)
	if !strings.Contains(string(r.body), "doubter") || !strings.Contains(string(r.body), "the stream broke") || r.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", r.header, r.body)
	}
}

// failing is a store whose writes fail.
type failing struct {
	apiserver.Store
	err      error
	transact error
}

func (f *failing) Transact(ctx context.Context, w []store.Write) ([]store.Object, error) {
	if f.transact != nil {
		return nil, f.transact
	}
	return f.Store.Transact(ctx, w)
}

func (f *failing) Write(ctx context.Context, w store.Write) (store.Object, error) {
	if f.err != nil {
		return store.Object{}, fmt.Errorf("write: %w", f.err)
	}
	return f.Store.Write(ctx, w)
}

func TestErrorsOfTheStore(t *testing.T) {
	f := &failing{}
	a := newAPI(t, func(c *apiserver.Config) { f.Store, c.Store = c.Store, f })
	for _, c := range []struct {
		err   error
		code  int
		text  string
		retry bool
	}{
		{store.ErrNotLeader, 503, "not the leader", true},
		// A write that may have been done must not be sent again by a client library.
		{store.ErrUnknownOutcome, 504, "not known", false},
		{fmt.Errorf("%w: the state here was replaced: %w", store.ErrUnknownOutcome, store.ErrCompacted), 504, "not known", false},
		{fmt.Errorf("%w: %w", store.ErrUnknownOutcome, store.ErrNotLeader), 504, "not known", false},
		{store.ErrNoSpace, 507, "disk", false},
		{store.ErrTooLarge, 413, "too large", false},
		{store.ErrClosed, 503, "shutting down", true},
	} {
		f.err = c.err
		r := a.must(c.code, "POST", cms, `{"metadata":{"name":"x"}}`)
		if !strings.Contains(string(r.body), c.text) || (r.header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: %q %s", c.err, r.header.Get("Retry-After"), r.body)
		}
	}
}

func TestCreateOnUpdate(t *testing.T) {
	a := newAPI(t)
	a.must(404, "PUT", cms+"/x", `{"metadata":{"name":"x"}}`)
	o := a.must(201, "PUT", notes+"/n", `{"metadata":{"name":"n"},"text":"one"}`).object(t)
	if at(o, "metadata.uid") == nil || o["text"] != "one" {
		t.Errorf("%v", o)
	}
	a.must(200, "PUT", notes+"/n", `{"metadata":{"name":"n"},"text":"two"}`)
	a.must(400, "PUT", notes+"/m", `{"metadata":{"name":"n"}}`)
	// Who names an identity means that object and no other.
	a.must(409, "PUT", notes+"/m", `{"metadata":{"name":"m","uid":"1"}}`)
	a.must(404, "GET", notes+"/m", "")
}

func TestDeletedObjectIsReturned(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", notes, `{"metadata":{"name":"n"},"text":"one"}`)
	if o := a.must(200, "DELETE", notes+"/n", "").object(t); o["kind"] != "Note" || o["text"] != "one" {
		t.Errorf("%v", o)
	}
	a.must(201, "POST", cms, `{"metadata":{"name":"n"}}`)
	if o := a.must(200, "DELETE", cms+"/n", "").object(t); o["kind"] != "Status" || o["status"] != "Success" {
		t.Errorf("%v", o)
	}
}

func TestGenerations(t *testing.T) {
	a := newAPI(t)
	patch := func(path, body string) any {
		return at(a.must(200, "PATCH", path, body, "Content-Type", mergePatch).object(t), "metadata.generation")
	}
	a.must(201, "POST", notes, `{"metadata":{"name":"n","generation":7}}`)
	for _, c := range []struct {
		body string
		want any
	}{
		{`{"metadata":{"labels":{"a":"b"}}}`, 1.0},
		{`{"metadata":{"annotations":{"a":"b"}}}`, 2.0},
		{`{"text":"x"}`, 3.0},
		{`{"text":"x"}`, 3.0},
	} {
		if got := patch(notes+"/n", c.body); got != c.want {
			t.Errorf("%s: generation %v, want %v", c.body, got, c.want)
		}
	}
	a.must(201, "POST", cms, `{"metadata":{"name":"n"}}`)
	if got := patch(cms+"/n", `{"data":{"a":"b"}}`); got != nil {
		t.Errorf("a config map has the generation %v", got)
	}
	a.must(201, "POST", widgets, widget("w", ""))
	if got := patch(widgets+"/w", `{"metadata":{"annotations":{"a":"b"}}}`); got != 1.0 {
		t.Errorf("generation %v", got)
	}
}

func TestApplyToScale(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", widgets, widget("w", `,"replicas":2`))
	scale := func(n int) string {
		return fmt.Sprintf(`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w"},"spec":{"replicas":%d}}`, n)
	}
	path := widgets + "/w/scale?fieldManager=scaler"
	r := a.must(409, "PATCH", path, scale(5), "Content-Type", applyPatch)
	if !strings.Contains(string(r.body), ".spec.replicas") {
		t.Errorf("%s", r.body)
	}
	o := a.must(200, "PATCH", path+"&force=true", scale(5), "Content-Type", applyPatch).object(t)
	if o["kind"] != "Scale" || at(o, "spec.replicas") != 5.0 {
		t.Errorf("%v", o)
	}
	// What is owned already can be applied again.
	a.must(200, "PATCH", path, scale(6), "Content-Type", applyPatch)
	o = a.must(200, "GET", widgets+"/w", "").object(t)
	if at(o, "spec.replicas") != 6.0 {
		t.Errorf("%v", o)
	}
	entries, _ := at(o, "metadata.managedFields").([]any)
	owned := ""
	for _, e := range entries {
		if at(e, "manager") == "scaler" {
			owned = compactTree(e)
		}
	}
	if !strings.Contains(owned, `"subresource":"scale"`) || !strings.Contains(owned, `"f:replicas"`) || !strings.Contains(owned, `"operation":"Apply"`) {
		t.Errorf("the applier owns %s", owned)
	}
	a.must(404, "PATCH", widgets+"/none/scale?fieldManager=scaler", strings.Replace(scale(1), `"w"`, `"none"`, 1), "Content-Type", applyPatch)
	a.must(422, "PATCH", widgets+"/w/scale", scale(1), "Content-Type", applyPatch)
}

func TestCompleteColumns(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", notes, `{"metadata":{"name":"n"},"text":"one"}`)
	o := a.must(200, "GET", notes, "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").object(t)
	if columns, _ := o["columnDefinitions"].([]any); len(columns) != 2 {
		t.Errorf("%v", columns)
	}
}

func TestDefinitionsOfCustomResourcesWarn(t *testing.T) {
	a := newAPI(t)
	r := a.must(201, "POST", crds, strings.Replace(gadgetCRD, `"size":{"type":"integer"}`, `"size":{"type":"string","format":"furlong"}`, 1))
	if w := r.header.Get("Warning"); !strings.Contains(w, "furlong") {
		t.Errorf("Warning: %q", w)
	}
}

func TestCustomResourcesOfATypeThatGoes(t *testing.T) {
	a := newAPI(t)
	a.runCustomResources()
	scaled := strings.Replace(gadgetCRD, `"storage":true,`, `"storage":true,"subresources":{"scale":{"specReplicasPath":".spec.size","statusReplicasPath":".status.replicas"}},`, 1)
	a.must(201, "POST", crds, scaled)
	a.established("gadgets.example.com")
	r := a.must(422, "POST", gadgets, `{"metadata":{"name":"g"},"spec":{"size":-1}}`)
	if !strings.Contains(string(r.body), "should be a non-negative integer") {
		t.Errorf("%s", r.body)
	}
	a.must(201, "POST", gadgets, `{"metadata":{"name":"g","finalizers":["example.com/hold"]},"spec":{"size":1}}`)
	w := a.watch(gadgets + "?watch=true")
	w.expect("ADDED g")
	a.must(200, "DELETE", crds+"/gadgets.example.com", "")
	w.expect("MODIFIED g")
	r = a.must(405, "POST", gadgets, `{"metadata":{"name":"h"},"spec":{"size":1}}`)
	if !strings.Contains(string(r.body), "create not allowed while custom resource definition is terminating") {
		t.Errorf("%s", r.body)
	}
	a.must(405, "PATCH", gadgets+"/h?fieldManager=m", `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"h"},"spec":{"size":1}}`, "Content-Type", applyPatch)
	a.must(200, "PATCH", gadgets+"/g", `{"metadata":{"finalizers":null}}`, "Content-Type", mergePatch)
}

func TestOrderAndPlaceOfUnknownFields(t *testing.T) {
	a := newAPI(t)
	strict := "?fieldValidation=Strict&fieldManager=m"
	body := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"bad":1,"nodeName":"a","nodeName":"b"}}`
	r := a.must(400, "POST", pods+strict, body)
	if !strings.Contains(string(r.body), `unknown field \"spec.bad\", duplicate field \"spec.nodeName\"`) {
		t.Errorf("%s", r.body)
	}
	// An applied field that nobody can own is refused whatever the validation is.
	for _, level := range []string{"Strict", "Warn", "Ignore"} {
		r = a.must(500, "PATCH", pods+"/x?fieldManager=m&fieldValidation="+level, body, "Content-Type", applyPatch)
		if !strings.Contains(string(r.body), `.spec.bad: field not declared in schema`) {
			t.Errorf("%s: %s", level, r.body)
		}
	}
}

func TestSelectableAliases(t *testing.T) {
	a := newAPI(t)
	a.must(201, "POST", notes, `{"metadata":{"name":"a"},"text":"t"}`)
	a.must(201, "POST", notes, `{"metadata":{"name":"b"},"about":{"name":"t"}}`)
	a.must(201, "POST", notes, `{"metadata":{"name":"c"},"about":{"name":"u"},"text":"t"}`)
	if got := namesOf(a.must(200, "GET", notes+"?fieldSelector=subject%3Dt", "").object(t)); got != "a b" {
		t.Errorf("%q", got)
	}
	a.must(400, "GET", notes+"?fieldSelector=other%3Dt", "")
}

func TestDefinitionsInProtobuf(t *testing.T) {
	const protobuf = "application/vnd.kubernetes.protobuf"
	a := newAPI(t)
	a.runCustomResources()
	var d apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal([]byte(gadgetCRD), &d); err != nil {
		t.Fatal(err)
	}
	raw, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}, Raw: raw}
	body, err := u.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	a.must(201, "POST", crds, "k8s\x00"+string(body), "Content-Type", protobuf, "Accept", protobuf)
	a.established("gadgets.example.com")
	a.must(201, "POST", gadgets, `{"metadata":{"name":"g"},"spec":{"size":1}}`)
	r := a.must(200, "GET", crds+"/gadgets.example.com", "", "Accept", protobuf)
	if err := u.Unmarshal(r.body[4:]); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmarshal(u.Raw); err != nil || len(d.Status.Conditions) == 0 {
		t.Errorf("%v: %v", err, d.Status)
	}
}

// Objects that are older than a default have it when they are read.
func TestDefaultsOfStoredCustomResources(t *testing.T) {
	a := newAPI(t)
	a.runCustomResources()
	a.must(201, "POST", crds, gadgetCRD)
	a.established("gadgets.example.com")
	a.must(201, "POST", gadgets, `{"metadata":{"name":"old"},"spec":{"size":1}}`)
	a.must(200, "PATCH", crds+"/gadgets.example.com", `[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color","value":{"type":"string","default":"red"}}]`,
		"Content-Type", "application/json-patch+json")
	a.eventually(func() bool {
		return at(a.must(200, "GET", gadgets+"/old", "").object(t), "spec.color") == "red"
	})
	for _, path := range []string{gadgets, gadgets + "?fieldSelector=metadata.name%3Dold"} {
		items, _ := a.must(200, "GET", path, "").object(t)["items"].([]any)
		if len(items) != 1 || at(items[0], "spec.color") != "red" {
			t.Errorf("%s: %v", path, items)
		}
	}
	w := a.watch(gadgets + "?watch=true")
	if e := w.expect("ADDED old"); at(e.Object, "spec.color") != "red" {
		t.Errorf("%v", e.Object)
	}
	o := a.must(200, "PATCH", gadgets+"/old", `{"spec":{"size":2}}`, "Content-Type", mergePatch).object(t)
	if at(o, "spec.color") != "red" || at(o, "metadata.generation") != 2.0 {
		t.Errorf("%v", o)
	}
}

func TestKeysTwiceInAppliedYAML(t *testing.T) {
	a := newAPI(t)
	body := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  a: b\n  a: c\n"
	r := a.must(400, "PATCH", cms+"/x?fieldManager=m&fieldValidation=Strict", body, "Content-Type", applyPatch)
	if !strings.Contains(string(r.body), `line 6: key \"a\" already set in map`) {
		t.Errorf("%s", r.body)
	}
	r = a.must(201, "PATCH", cms+"/x?fieldManager=m", body, "Content-Type", applyPatch)
	if !strings.Contains(r.header.Get("Warning"), "already set in map") {
		t.Errorf("%v", r.header)
	}
}
