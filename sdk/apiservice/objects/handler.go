package objects

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Handler serves the stores as a group version. A store has one handler.
func Handler(gv schema.GroupVersion, stores ...*Store) (http.Handler, error) {
	h := &handler{gv: gv, base: "/apis/" + gv.Group + "/" + gv.Version, stores: map[string]*Store{}}
	for _, s := range stores {
		s.apiVersion = gv.String()
		h.stores[s.t.Plural] = s
		h.order = append(h.order, s)
	}
	var err error
	if h.v3, h.v2, err = h.documents(); err != nil {
		return nil, err
	}
	return h, nil
}

type handler struct {
	gv     schema.GroupVersion
	base   string
	stores map[string]*Store
	order  []*Store
	v2, v3 []byte
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case h.base, h.base + "/":
		reply(w, http.StatusOK, h.resources())
		return
	case "/openapi/v3":
		reply(w, http.StatusOK, map[string]any{"paths": map[string]any{
			strings.TrimPrefix(h.base, "/"): map[string]any{"serverRelativeURL": "/openapi/v3" + h.base + "?hash=" + hash(h.v3)},
		}})
		return
	case "/openapi/v3" + h.base:
		document(w, h.v3)
		return
	case "/openapi/v2":
		document(w, h.v2)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, h.base+"/")
	if !ok {
		fail(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "", "", 0, true))
		return
	}
	if err := h.objects(w, r, strings.Split(strings.TrimSuffix(rest, "/"), "/")); err != nil {
		fail(w, err)
	}
}

// objects answers a request for what a store holds.
func (h *handler) objects(w http.ResponseWriter, r *http.Request, parts []string) error {
	namespace, name := "", ""
	if len(parts) > 2 && parts[0] == "namespaces" {
		namespace, parts = parts[1], parts[2:]
	}
	if len(parts) == 2 {
		name = parts[1]
	}
	s := h.stores[parts[0]]
	if s == nil || len(parts) > 2 || namespace != "" && !s.t.Namespaced || s.t.Namespaced && name != "" && namespace == "" {
		return apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "", "", 0, true)
	}
	gr := schema.GroupResource{Group: h.gv.Group, Resource: s.t.Plural}
	var it *item
	if name != "" {
		if it = s.get(namespace, name); it == nil {
			return apierrors.NewNotFound(gr, name)
		}
	}
	watches, _ := strconv.ParseBool(r.URL.Query().Get("watch"))
	switch {
	case r.Method == http.MethodGet && watches:
		return h.watch(w, r, s, namespace, name)
	case r.Method == http.MethodGet && it != nil:
		return s.answer(w, r, []*item{it}, it.revision, true)
	case r.Method == http.MethodGet:
		f, err := parseFilter(namespace, r.URL.Query())
		if err != nil {
			return err
		}
		items, revision := s.list(f)
		return s.answer(w, r, items, revision, false)
	case r.Method == http.MethodDelete && it != nil && s.t.Delete != nil:
		if err := s.t.Delete(r.Context(), it.object); err != nil {
			return err
		}
		return s.answer(w, r, []*item{it}, it.revision, true)
	}
	verb := strings.ToLower(r.Method)
	switch {
	case r.Method == http.MethodPost:
		verb = "create"
	case r.Method == http.MethodPut:
		verb = "update"
	case r.Method == http.MethodDelete && it == nil:
		verb = "deletecollection"
	}
	return apierrors.NewMethodNotSupported(gr, verb)
}

// answer sends objects in the form that the client wants: one, or a list.
func (s *Store) answer(w http.ResponseWriter, r *http.Request, items []*item, revision uint64, one bool) error {
	as := negotiate(r.Header.Get("Accept"))
	if as == table {
		t, err := s.table(items, r.URL.Query().Get("includeObject"), true)
		if err != nil {
			return err
		}
		t.ResourceVersion = strconv.FormatUint(revision, 10)
		reply(w, http.StatusOK, t)
		return nil
	}
	data := make([]json.RawMessage, 0, len(items))
	for _, it := range items {
		b, err := s.show(it, as)
		if err != nil {
			return err
		}
		data = append(data, b)
	}
	if one {
		reply(w, http.StatusOK, data[0])
		return nil
	}
	list := map[string]any{
		"apiVersion": s.apiVersion, "kind": s.t.Kind + "List", "items": data,
		"metadata": metav1.ListMeta{ResourceVersion: strconv.FormatUint(revision, 10)},
	}
	if as == partial {
		list["apiVersion"], list["kind"] = metav1.SchemeGroupVersion.String(), "PartialObjectMetadataList"
	}
	reply(w, http.StatusOK, list)
	return nil
}

// show encodes one object, whole or its metadata.
func (s *Store) show(it *item, as form) (json.RawMessage, error) {
	whole, err := s.encode(it)
	if err != nil || as != partial {
		return whole, err
	}
	var p metav1.PartialObjectMetadata
	if err := json.Unmarshal(whole, &p); err != nil {
		return nil, err
	}
	p.TypeMeta = metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "PartialObjectMetadata"}
	return json.Marshal(&p)
}

func (h *handler) resources() *metav1.APIResourceList {
	out := &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: h.gv.String(), APIResources: []metav1.APIResource{},
	}
	for _, s := range h.order {
		verbs := metav1.Verbs{"get", "list", "watch"}
		if s.t.Delete != nil {
			verbs = metav1.Verbs{"delete", "get", "list", "watch"}
		}
		out.APIResources = append(out.APIResources, metav1.APIResource{
			Name: s.t.Plural, SingularName: s.t.Singular, Namespaced: s.t.Namespaced, Kind: s.t.Kind,
			Verbs: verbs, ShortNames: s.t.ShortNames, Categories: s.t.Categories,
		})
	}
	return out
}

func reply(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // who does not read it has gone
}

func document(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who does not read it has gone
}

// fail answers with a Status.
func fail(w http.ResponseWriter, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	reply(w, int(status.Code), &status)
}
