package apiserver_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// taker is the hooks of a type that takes part in its writes. It notes what it is told.
type taker struct {
	mu    sync.Mutex
	notes []string
	// begin and end are the errors it answers.
	begin, end error
}

func (h *taker) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, what)
}

func (h *taker) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.notes
	h.notes = nil
	return out
}

// Prepare implements resource.Preparer.
func (h *taker) Prepare(_ context.Context, r *resource.Request) error {
	r.Memory = "prepared"
	return nil
}

// Begin implements resource.Beginner.
func (h *taker) Begin(_ context.Context, r *resource.Request, op resource.Operation) (func(context.Context, error) error, error) {
	what := string(op) + " " + r.Name
	if h.begin != nil {
		return nil, h.begin
	}
	if op != resource.Delete {
		r.Object["mark"] = r.Memory
	}
	h.note("begin " + what)
	return func(_ context.Context, err error) error {
		if err != nil {
			h.note("failed " + what)
		} else {
			h.note("end " + what)
		}
		return h.end
	}, nil
}

type takers struct{ h *taker }

func (takers) Definitions() ([]*crd.Definition, error) {
	return []*crd.Definition{apiservertest.Type("take.dev", "takes", "Take", crd.NamespaceScoped,
		`{"type":"object","properties":{"mark":{"type":"string"},"text":{"type":"string"}}}`)}, nil
}

func (t takers) Hooks(runtimeschema.GroupResource) any { return t.h }

func TestHooksTakePartInWrites(t *testing.T) {
	const takes = "/apis/take.dev/v1/namespaces/default/takes"
	h := &taker{}
	a := newAPI(t)
	if err := a.server.Install(takers{h}); err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	for _, step := range []struct {
		name               string
		code               int
		method, path, body string
		begin, end         error
		notes              []string
		mark, text         string
	}{
		{name: "create", code: 201, method: "POST", path: takes, body: `{"metadata":{"name":"a"}}`, notes: []string{"begin CREATE a", "end CREATE a"}, mark: "prepared"},
		{name: "create what exists", code: 409, method: "POST", path: takes, body: `{"metadata":{"name":"a"}}`, notes: []string{"begin CREATE a", "failed CREATE a"}},
		{name: "dry run", code: 201, method: "POST", path: takes + "?dryRun=All", body: `{"metadata":{"name":"b"}}`},
		{name: "refused at the beginning", code: 422, method: "POST", path: takes, body: `{"metadata":{"name":"b"}}`,
			begin: apierrors.NewInvalid(runtimeschema.GroupKind{Kind: "Take"}, "b", nil)},
		{name: "failed at the end", code: 500, method: "POST", path: takes, body: `{"metadata":{"name":"b"}}`, end: wrong,
			notes: []string{"begin CREATE b", "end CREATE b"}},
		{name: "which took it back", code: 404, method: "GET", path: takes + "/b"},
		{name: "update", code: 200, method: "PUT", path: takes + "/a", body: `{"metadata":{"name":"a","finalizers":["x/y"]},"text":"1"}`,
			notes: []string{"begin UPDATE a", "end UPDATE a"}, mark: "prepared", text: "1"},
		{name: "update that fails at its end", code: 200, method: "PUT", path: takes + "/a", body: `{"metadata":{"name":"a","finalizers":["x/y"]},"text":"2"}`, end: wrong,
			notes: []string{"begin UPDATE a", "end UPDATE a"}, mark: "prepared", text: "2"},
		{name: "update of an old revision", code: 409, method: "PUT", path: takes + "/a", body: `{"metadata":{"name":"a","resourceVersion":"1"}}`},
		{name: "delete, which waits", code: 200, method: "DELETE", path: takes + "/a", notes: []string{"begin UPDATE a", "end UPDATE a"}, mark: "prepared", text: "2"},
		{name: "the last finalizer goes", code: 200, method: "PUT", path: takes + "/a", body: `{"metadata":{"name":"a"}}`, notes: []string{"begin DELETE a", "end DELETE a"}},
		{name: "and so does it", code: 404, method: "GET", path: takes + "/a"},
	} {
		h.begin, h.end = step.begin, step.end
		r := a.do(step.method, step.path, step.body)
		if r.code != step.code {
			t.Errorf("%s: %d, want %d: %s", step.name, r.code, step.code, r.body)
		}
		if got := h.take(); !slices.Equal(got, step.notes) {
			t.Errorf("%s: told %v, want %v", step.name, got, step.notes)
		}
		if o := r.object(t); step.text != "" && at(o, "text") != step.text {
			t.Errorf("%s: %s", step.name, r.body)
		}
		if o := a.do("GET", takes+"/a", "").object(t); step.mark != "" && at(o, "mark") != nil && at(o, "mark") != step.mark {
			t.Errorf("%s: mark %v", step.name, at(o, "mark"))
		}
	}
}

func TestCreator(t *testing.T) {
	a := newAPI(t)
	ctx, c, gr := context.Background(), a.server.Creator(), runtimeschema.GroupResource{Resource: "configmaps"}
	o := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c", "namespace": "default"}, "data": map[string]any{"a": "b"}}
	if err := c.Create(ctx, gr, o); err != nil {
		t.Fatal(err)
	}
	uid, _ := at(o, "metadata.uid").(string)
	if got := a.must(200, "GET", cms+"/c", "").object(t); uid == "" || at(got, "metadata.uid") != uid || at(got, "data.a") != "b" {
		t.Errorf("uid %q, stored %v", uid, got)
	}
	same := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c", "namespace": "default"}}
	if err := c.Create(ctx, gr, same); !apierrors.IsAlreadyExists(err) {
		t.Errorf("created twice: %v", err)
	}
	if err := c.Delete(ctx, gr, "default", "c", "another"); !apierrors.IsConflict(err) {
		t.Errorf("deleted another: %v", err)
	}
	if err := c.Delete(ctx, gr, "default", "c", uid); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, gr, "default", "c", uid); !apierrors.IsNotFound(err) {
		t.Errorf("deleted twice: %v", err)
	}
	if err := c.Create(ctx, runtimeschema.GroupResource{Resource: "nothing"}, o); err == nil {
		t.Error("an unknown type is created")
	}
}
