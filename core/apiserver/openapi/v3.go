package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const componentsPrefix = "#/components/schemas/"

// protobufV3 is the media type of version 3 as protobuf.
const protobufV3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

// serveIndex answers /openapi/v3: where the document of each group version is. The hash in
// a URL changes with the document, so that clients may keep documents for good.
func (h *Handler) serveIndex(w http.ResponseWriter, r *http.Request) error {
	s, err := h.current()
	if err != nil {
		return err
	}
	type entry struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	index := struct {
		Paths map[string]entry `json:"paths"`
	}{map[string]entry{}}
	for _, gv := range s.list {
		index.Paths[gv.id] = entry{v3URL(gv.id, s.hashes[gv.id])}
	}
	for id, at := range s.remote {
		index.Paths[id] = entry{at}
	}
	body, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	w.Header().Set("Cache-Control", "no-cache, private")
	write(w, r, "application/json", s.hashes[""], body)
	return nil
}

func v3URL(id, hash string) string {
	u := url.URL{Path: "/openapi/v3/" + id, RawQuery: url.Values{"hash": {hash}}.Encode()}
	return u.String()
}

func (h *Handler) serveV3(w http.ResponseWriter, r *http.Request, id string) error {
	s, err := h.current()
	if err != nil {
		return err
	}
	hash, ok := s.hashes[id]
	if !ok || id == "" {
		http.NotFound(w, r)
		return nil
	}
	switch asked := r.URL.Query().Get("hash"); {
	case asked == "":
		w.Header().Set("Cache-Control", "no-cache, private")
	case asked != hash:
		http.Redirect(w, r, v3URL(id, hash), http.StatusMovedPermanently)
		return nil
	default:
		w.Header().Set("Cache-Control", "public, immutable, max-age=31536000")
	}
	w.Header().Set("Vary", "Accept")
	contentType, ok := choose(r, []offer{
		{"application", "json", "application/json"},
		{"application", "com.github.proto-openapi.spec.v3.v1.0+protobuf", protobufV3},
		{"application", "com.github.proto-openapi.spec.v3@v1.0+protobuf", protobufV3},
	})
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	if matches(r, hash) {
		write(w, r, contentType, hash, nil)
		return nil
	}
	body, err := h.render("v3/"+id+" "+contentType, hash, func() ([]byte, error) { return h.buildV3(s, id, contentType) })
	if err != nil {
		return err
	}
	write(w, r, contentType, hash, body)
	return nil
}

// buildV3 makes the document of one group version.
func (h *Handler) buildV3(s *state, id, contentType string) ([]byte, error) {
	doc := &spec3.OpenAPI{
		Version: "3.0.0",
		Info:    h.info(),
		Paths:   &spec3.Paths{Paths: map[string]*spec3.Path{}},
		Components: &spec3.Components{SecuritySchemes: spec3.SecuritySchemes{"BearerToken": {SecuritySchemeProps: spec3.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}}},
	}
	m := h.newModels(componentsPrefix, false)
	for _, gv := range s.list {
		if gv.id != id {
			continue
		}
		addV3(doc, m, resourcesOf(gv, m))
		for _, t := range gv.types {
			names, err := m.addType(t)
			if err != nil {
				return nil, err
			}
			for _, o := range operations(t, names, m) {
				addV3(doc, m, o)
			}
		}
	}
	doc.Components.Schemas = make(map[string]*spec.Schema, len(m.done))
	for name := range m.done {
		schema := m.done[name]
		doc.Components.Schemas[name] = &schema
	}
	body, err := json.Marshal(doc)
	if err != nil || contentType != protobufV3 {
		return body, err
	}
	parsed, err := openapi_v3.ParseDocument(body)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(parsed)
}

func (h *Handler) info() *spec.Info {
	return &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: h.cfg.Version}}
}

func addV3(doc *spec3.OpenAPI, m *models, o operation) {
	path := doc.Paths.Paths[o.path]
	if path == nil {
		path = &spec3.Path{}
		for _, name := range pathParameters(o.path) {
			path.Parameters = append(path.Parameters, &spec3.Parameter{ParameterProps: spec3.ParameterProps{
				Name: name, In: "path", Required: true, Description: pathDescriptions[name], Schema: simple("string"),
			}})
		}
		doc.Paths.Paths[o.path] = path
	}
	op := &spec3.Operation{OperationProps: spec3.OperationProps{
		OperationId: o.id, Description: o.description,
		Responses: &spec3.Responses{ResponsesProps: spec3.ResponsesProps{StatusCodeResponses: map[int]*spec3.Response{
			http.StatusUnauthorized: {ResponseProps: spec3.ResponseProps{Description: "Unauthorized"}},
		}}},
	}}
	if o.kind != nil {
		op.AddExtension("x-kubernetes-action", o.action)
		op.AddExtension(gvkExtension, o.kind)
	}
	for _, name := range o.parameters {
		p := queryParameters[name]
		op.Parameters = append(op.Parameters, &spec3.Parameter{ParameterProps: spec3.ParameterProps{Name: name, In: "query", Description: p[1], Schema: simple(p[0])}})
	}
	if o.body != "" {
		types := o.patches
		if types == nil {
			types = []string{"*/*"}
		}
		content := map[string]*spec3.MediaType{}
		for _, t := range types {
			content[t] = &spec3.MediaType{MediaTypeProps: spec3.MediaTypeProps{Schema: m.ref(o.body)}}
		}
		op.RequestBody = &spec3.RequestBody{RequestBodyProps: spec3.RequestBodyProps{Content: content, Required: o.method != "delete"}}
	}
	for _, code := range o.codes {
		resp := &spec3.Response{ResponseProps: spec3.ResponseProps{Description: http.StatusText(code)}}
		schema := m.ref(o.answer)
		types := []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
		if o.answer == "" {
			schema = simple("string")
			types = []string{"*/*"}
		}
		resp.Content = map[string]*spec3.MediaType{}
		for _, t := range types {
			resp.Content[t] = &spec3.MediaType{MediaTypeProps: spec3.MediaTypeProps{Schema: schema}}
		}
		op.Responses.StatusCodeResponses[code] = resp
	}
	switch o.method {
	case "get":
		path.Get = op
	case "put":
		path.Put = op
	case "post":
		path.Post = op
	case "delete":
		path.Delete = op
	case "patch":
		path.Patch = op
	}
}

func simple(t string) *spec.Schema {
	return &spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{t}, UniqueItems: true}}
}
