package scheduler_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// fakeAPI is as much of an API server as a scheduler talks to: lists, watches, bindings,
// events and the status of pods.
type fakeAPI struct {
	*httptest.Server
	// bind, if set, may refuse a binding with a status code.
	bind func(pod, node string) int

	mu       sync.Mutex
	cond     *sync.Cond
	rv       int
	objects  map[string]map[string]map[string]any // by collection and key
	log      []logged
	bindings map[string]string
	statuses map[string]string // message of PodScheduled
	events   []v1.Event
	counts   int            // events patched
	reads    map[string]int // of single objects, by key
}

type logged struct {
	rv         int
	collection string
	frame      []byte
}

func newFakeAPI(t testing.TB) *fakeAPI {
	f := &fakeAPI{objects: map[string]map[string]map[string]any{}, bindings: map[string]string{}, statuses: map[string]string{}, reads: map[string]int{}}
	f.cond = sync.NewCond(&f.mu)
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.CloseClientConnections)
	return f
}

// set creates or replaces an object given as JSON.
func (f *fakeAPI) set(t testing.TB, collection, raw string) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(collection, o)
}

func key(o map[string]any) string {
	m := o["metadata"].(map[string]any)
	return fmt.Sprint(m["namespace"], "/", m["name"])
}

func (f *fakeAPI) put(collection string, o map[string]any) {
	if f.objects[collection] == nil {
		f.objects[collection] = map[string]map[string]any{}
	}
	kind := "MODIFIED"
	if f.objects[collection][key(o)] == nil {
		kind = "ADDED"
	}
	f.objects[collection][key(o)] = o
	f.record(kind, collection, o)
}

func (f *fakeAPI) delete(collection, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[collection][key]
	delete(f.objects[collection], key)
	f.record("DELETED", collection, o)
}

func (f *fakeAPI) record(kind, collection string, o map[string]any) {
	f.rv++
	o["metadata"].(map[string]any)["resourceVersion"] = fmt.Sprint(f.rv)
	frame, err := json.Marshal(map[string]any{"type": kind, "object": o})
	if err != nil {
		panic(err)
	}
	f.log = append(f.log, logged{f.rv, collection, append(frame, '\n')})
	f.cond.Broadcast()
}

// wait waits until a condition holds.
func (f *fakeAPI) wait(holds func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !holds() {
		f.cond.Wait()
	}
}

func (f *fakeAPI) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") == "true":
		f.watch(w, r, path[len(path)-1])
	case r.Method == http.MethodGet && len(path) == 4:
		f.get(w, path[2], path[1]+"/"+path[3])
	case r.Method == http.MethodGet:
		f.list(w, path[len(path)-1])
	case r.Method == http.MethodPost && len(path) == 5 && path[4] == "binding":
		f.binding(w, r, path[1]+"/"+path[3])
	case path[len(path)-1] == "events" || (len(path) == 4 && path[2] == "events"):
		f.event(w, r)
	case r.Method == http.MethodPatch && len(path) == 5 && path[4] == "status":
		f.status(w, r, path[1]+"/"+path[3])
	case r.Method == http.MethodPatch && len(path) == 4 && path[2] == "persistentvolumeclaims":
		f.patchClaim(w, r, path[1]+"/"+path[3])
	default:
		http.Error(w, r.Method+" "+r.URL.Path, http.StatusNotFound)
	}
}

func (f *fakeAPI) get(w http.ResponseWriter, collection, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[collection][key]
	if o == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	}
	f.reads[key]++
	_ = json.NewEncoder(w).Encode(o)
}

func (f *fakeAPI) list(w http.ResponseWriter, collection string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []map[string]any{}
	for _, o := range f.objects[collection] {
		items = append(items, o)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"resourceVersion": fmt.Sprint(f.rv)}, "items": items})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, collection string) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		// As a server that doesn't stream lists; the client falls back to listing.
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		return
	}
	var from int
	_, _ = fmt.Sscan(r.URL.Query().Get("resourceVersion"), &from)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	go func() {
		<-r.Context().Done()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cond.Broadcast()
	}()
	next := 0
	for {
		f.mu.Lock()
		for next == len(f.log) && r.Context().Err() == nil {
			f.cond.Wait()
		}
		batch := f.log[next:len(f.log):len(f.log)]
		next = len(f.log)
		f.mu.Unlock()
		if r.Context().Err() != nil {
			return
		}
		for _, l := range batch {
			if l.rv > from && l.collection == collection {
				if _, err := w.Write(l.frame); err != nil {
					return
				}
			}
		}
		w.(http.Flusher).Flush()
	}
}

func (f *fakeAPI) binding(w http.ResponseWriter, r *http.Request, pod string) {
	var b v1.Binding
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects["pods"][pod]
	code := http.StatusCreated
	switch {
	case f.bind != nil && f.bind(pod, b.Target.Name) != 0:
		code = f.bind(pod, b.Target.Name)
	case o == nil || o["metadata"].(map[string]any)["uid"] != string(b.UID):
		code = http.StatusNotFound
	case o["spec"].(map[string]any)["nodeName"] != nil:
		code = http.StatusConflict
	}
	if code != http.StatusCreated {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"message":"refused"}`, code)
		return
	}
	spec := map[string]any{"nodeName": b.Target.Name}
	for k, v := range o["spec"].(map[string]any) {
		spec[k] = v
	}
	f.bindings[pod] = b.Target.Name
	f.put("pods", map[string]any{"metadata": o["metadata"], "spec": spec, "status": o["status"]})
	w.WriteHeader(code)
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
}

func (f *fakeAPI) event(w http.ResponseWriter, r *http.Request) {
	var e v1.Event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPatch {
		f.counts++
	} else {
		f.events = append(f.events, e)
		w.WriteHeader(http.StatusCreated)
	}
	f.cond.Broadcast()
}

// patchClaim merges annotations into a claim of the version that it is for.
func (f *fakeAPI) patchClaim(w http.ResponseWriter, r *http.Request, key string) {
	var p v1.PersistentVolumeClaim
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects["persistentvolumeclaims"][key]
	if o == nil || o["metadata"].(map[string]any)["resourceVersion"] != p.ResourceVersion {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`)
		return
	}
	meta := maps.Clone(o["metadata"].(map[string]any))
	meta["annotations"] = p.Annotations
	f.put("persistentvolumeclaims", map[string]any{"metadata": meta, "spec": o["spec"], "status": o["status"]})
	_ = json.NewEncoder(w).Encode(o)
}

func (f *fakeAPI) status(w http.ResponseWriter, r *http.Request, pod string) {
	var p v1.Pod
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range p.Status.Conditions {
		f.statuses[pod] = string(c.Status) + " " + c.Reason + " " + c.Message
	}
	f.cond.Broadcast()
}
