package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const definitionsPrefix = "#/definitions/"

// protobufV2 is the media type of version 2 as protobuf.
const protobufV2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

// serveV2 answers /openapi/v2: one document for all types, for clients that know no
// version 3.
func (h *Handler) serveV2(w http.ResponseWriter, r *http.Request) error {
	s, err := h.current()
	if err != nil {
		return err
	}
	contentType, ok := choose(r, []offer{
		{"application", "json", "application/json"},
		{"application", "com.github.proto-openapi.spec.v2.v1.0+protobuf", protobufV2},
		{"application", "com.github.proto-openapi.spec.v2@v1.0+protobuf", protobufV2},
	})
	w.Header().Set("Vary", "Accept")
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	hash := s.hashes[""]
	if matches(r, hash) {
		write(w, r, contentType, hash, nil)
		return nil
	}
	body, err := h.render("v2 "+contentType, hash, func() ([]byte, error) { return h.buildV2(r.Context(), s, contentType) })
	if err != nil {
		return err
	}
	write(w, r, contentType, hash, body)
	return nil
}

func (h *Handler) buildV2(ctx context.Context, s *state, contentType string) ([]byte, error) {
	doc := &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger: "2.0",
		Info:    h.info(),
		Paths:   &spec.Paths{Paths: map[string]spec.PathItem{}},
		SecurityDefinitions: spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}},
		Security: []map[string][]string{{"BearerToken": {}}},
	}}
	m := h.newModels(definitionsPrefix, true)
	for _, gv := range s.list {
		addV2(doc, m, resourcesOf(gv, m))
		for _, t := range gv.types {
			names, err := m.addType(t)
			if err != nil {
				return nil, err
			}
			for _, o := range operations(t, names, m) {
				addV2(doc, m, o)
			}
		}
	}
	doc.Definitions = spec.Definitions(m.done)
	if len(s.remote) > 0 {
		for _, other := range h.cfg.Others.OpenAPIV2(ctx) {
			if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(doc, other); err != nil {
				return nil, fmt.Errorf("merge the document of another server: %w", err)
			}
		}
	}
	body, err := json.Marshal(doc)
	if err != nil || contentType != protobufV2 {
		return body, err
	}
	parsed, err := openapi_v2.ParseDocument(body)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(parsed)
}

func addV2(doc *spec.Swagger, m *models, o operation) {
	path, ok := doc.Paths.Paths[o.path]
	if !ok {
		for _, name := range pathParameters(o.path) {
			p := parameterV2(name, "path", "string", pathDescriptions[name])
			p.Required = true
			path.Parameters = append(path.Parameters, p)
		}
	}
	op := &spec.Operation{OperationProps: spec.OperationProps{
		ID: o.id, Description: o.description, Schemes: []string{"https"},
		Consumes: []string{"*/*"}, Produces: []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"},
		Responses: &spec.Responses{ResponsesProps: spec.ResponsesProps{StatusCodeResponses: map[int]spec.Response{
			http.StatusUnauthorized: {ResponseProps: spec.ResponseProps{Description: "Unauthorized"}},
		}}},
	}}
	if o.kind != nil {
		op.AddExtension("x-kubernetes-action", o.action)
		op.AddExtension(gvkExtension, o.kind)
	}
	if o.patches != nil {
		op.Consumes = o.patches
	}
	if o.stream {
		op.Produces = []string{"*/*"}
	}
	if o.body != "" {
		op.Parameters = append(op.Parameters, spec.Parameter{ParamProps: spec.ParamProps{
			Name: "body", In: "body", Required: o.method != "delete", Schema: m.ref(o.body),
		}})
	}
	for _, name := range o.parameters {
		p := queryParameters[name]
		op.Parameters = append(op.Parameters, parameterV2(name, "query", p[0], p[1]))
	}
	for _, code := range o.codes {
		resp := spec.Response{ResponseProps: spec.ResponseProps{Description: http.StatusText(code)}}
		resp.Schema = simpleV2("string")
		if o.answer != "" {
			resp.Schema = m.ref(o.answer)
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
	doc.Paths.Paths[o.path] = path
}

func parameterV2(name, in, t, description string) spec.Parameter {
	p := spec.Parameter{ParamProps: spec.ParamProps{Name: name, In: in, Description: description}}
	p.Type = t
	p.UniqueItems = true
	return p
}

func simpleV2(t string) *spec.Schema {
	return &spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{t}}}
}
