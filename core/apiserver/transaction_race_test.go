package apiserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

// TestContendedTransactions: operations that name no revision are made anew when their object
// changes, and all of them together count right.
func TestContendedTransactions(t *testing.T) {
	a := newTransactionAPI(t)
	const clients, rounds, counters = 4, 15, 3
	for i := range counters {
		a.must(201, "POST", cms, fmt.Sprintf(`{"metadata":{"name":"c%d"},"data":{}}`, i))
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range rounds {
				var ops []string
				for i := range counters {
					// In an order of its own, so that transactions meet in all ways.
					k := (i + c) % counters
					ops = append(ops, fmt.Sprintf(`{"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"c%d",
						"patchType":"application/merge-patch+json","patch":{"data":{"k%d-%d":"x"}}}`, k, c, n))
				}
				ops = append(ops, createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-","namespace":"default"}}`))
				if r := a.do("POST", transactions, body(ops...)); r.code != 201 && !apierrors.IsConflict(statusError(r)) {
					t.Errorf("%d %s", r.code, r.body)
				} else if r.code != 201 {
					t.Logf("gave up: %s", r.body)
				}
			}
		})
	}
	wg.Wait()
	var want string
	for i := range counters {
		o := a.must(200, "GET", fmt.Sprintf("%s/c%d", cms, i), "").object(t)
		data := compactTree(at(o, "data"))
		if n := len(at(o, "data").(map[string]any)); n == 0 {
			t.Fatal("nobody has written")
		}
		if want == "" {
			want = data
		} else if want != data {
			t.Errorf("c%d has %s, c0 %s", i, data, want)
		}
	}
}

func statusError(r answer) error {
	var st apierrors.StatusError
	_ = json.Unmarshal(r.body, &st.ErrStatus)
	return &st
}

// TestReadersNeverSeeAPart lists and watches while transactions are done.
func TestReadersNeverSeeAPart(t *testing.T) {
	a := newTransactionAPI(t)
	const objects, rounds = 5, 60
	write := func(n int) string {
		var ops []string
		for i := range objects {
			// The last one comes and goes.
			if i == objects-1 && n%2 == 1 {
				ops = append(ops, fmt.Sprintf(`{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"o%d"}`, i))
				continue
			}
			ops = append(ops, fmt.Sprintf(`{"verb":"patch","patchType":"application/apply-patch+yaml","options":{"fieldManager":"t"},"object":%s}`,
				configMap(fmt.Sprint("o", i), fmt.Sprintf(`{"n":"%d"}`, n))))
		}
		return body(ops...)
	}
	check := func(what string, found map[string]string) {
		n := found["o0"]
		want := objects
		if len(found) == 0 {
			return
		}
		if strings.ContainsAny(n[len(n)-1:], "13579") {
			want--
		}
		for name, m := range found {
			if m != n {
				t.Errorf("%s shows o0 at %s and %s at %s", what, n, name, m)
			}
		}
		if len(found) != want {
			t.Errorf("%s shows %v", what, found)
		}
	}
	first := a.must(200, "GET", cms, "").object(t)
	rv := at(first, "metadata.resourceVersion").(string)
	w := a.watch(cms + "?watch=1&resourceVersion=" + rv)
	var done atomic.Bool
	var readers sync.WaitGroup
	lists := 0
	readers.Go(func() {
		for !done.Load() {
			found := map[string]string{}
			l := a.do("GET", cms+"?limit=2", "").object(t)
			for {
				for _, o := range l["items"].([]any) {
					found[at(o, "metadata.name").(string)] = at(o, "data.n").(string)
				}
				next, _ := at(l, "metadata.continue").(string)
				if next == "" {
					break
				}
				l = a.do("GET", cms+"?limit=2&continue="+next, "").object(t)
			}
			check("a list", found)
			lists++
		}
	})
	for n := range rounds {
		a.must(201, "POST", transactions, write(n))
	}
	done.Store(true)
	readers.Wait()
	if lists < 3 {
		t.Fatalf("%d lists", lists)
	}
	// Every change was seen once, in order; and the state at every revision that a client can
	// know of is whole.
	last, events := "", 0
	for n := range rounds {
		for i := range objects {
			ev := w.next()
			events++
			rv := at(ev.Object, "metadata.resourceVersion").(string)
			if ev.name() != fmt.Sprint("o", i) || len(rv) < len(last) || len(rv) == len(last) && rv <= last {
				t.Fatalf("round %d: event %s %s at %s after %s", n, ev.Type, ev.name(), rv, last)
			}
			last = rv
			l := a.must(200, "GET", cms+"?resourceVersionMatch=Exact&resourceVersion="+rv, "").object(t)
			found := map[string]string{}
			for _, o := range l["items"].([]any) {
				found[at(o, "metadata.name").(string)] = at(o, "data.n").(string)
			}
			check("a list at "+rv, found)
		}
	}
}

// TestHooksTakePartInTransactions: what begins is ended, once, with the outcome of all.
func TestHooksTakePartInTransactions(t *testing.T) {
	h := &taker{}
	a := newTransactionAPI(t)
	if err := a.server.Install(takers{h}); err != nil {
		t.Fatal(err)
	}
	take := func(name, rest string) string {
		return `{"apiVersion":"take.dev/v1","kind":"Take","metadata":{"name":"` + name + `","namespace":"default"` + rest + `}}`
	}
	a.must(201, "POST", cms, `{"metadata":{"name":"live"}}`)
	for _, step := range []struct {
		name  string
		code  int
		query string
		ops   []string
		begin error
		notes []string
	}{
		{name: "done", code: 201, ops: []string{createOp(take("a", "")), createOp(take("b", ""))},
			notes: []string{"begin CREATE a", "begin CREATE b", "end CREATE a", "end CREATE b"}},
		{name: "dry run", code: 201, query: "?dryRun=All", ops: []string{createOp(take("c", ""))}},
		{name: "one is refused", code: 409, ops: []string{createOp(take("c", "")), createOp(configMap("live", "{}"))},
			notes: []string{"begin CREATE c", "failed CREATE c"}},
		{name: "refused before", code: 404, ops: []string{createOp(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"none"}}`), createOp(take("c", ""))}},
		{name: "refused at the beginning", code: 422, ops: []string{createOp(configMap("x", "{}")), createOp(take("c", ""))},
			begin: apierrors.NewInvalid(runtimeschema.GroupKind{Kind: "Take"}, "c", nil)},
		{name: "deleted", code: 201, ops: []string{`{"verb":"delete","apiVersion":"take.dev/v1","kind":"Take","namespace":"default","name":"a"}`},
			notes: []string{"begin DELETE a", "end DELETE a"}},
	} {
		h.begin = step.begin
		r := a.do("POST", transactions+step.query, body(step.ops...))
		if r.code != step.code {
			t.Errorf("%s: %d, want %d: %s", step.name, r.code, step.code, r.body)
		}
		if got := h.take(); !slices.Equal(got, step.notes) {
			t.Errorf("%s: told %v, want %v", step.name, got, step.notes)
		}
	}
	h.begin, h.end = nil, errors.New("wrong")
	r := a.must(201, "POST", transactions, body(createOp(take("z", "")), createOp(configMap("z", "{}"))))
	if st := r.transaction(t); len(st.Results[0].Warnings) != 1 || !strings.Contains(st.Results[0].Warnings[0], "was not done: ") {
		t.Errorf("an end that fails: %+v", st)
	}
	a.must(200, "GET", "/apis/take.dev/v1/namespaces/default/takes/z", "")
	a.must(200, "GET", cms+"/z", "")
}
