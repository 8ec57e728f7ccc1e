package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// documents returns what the group version's OpenAPI says, in both versions: of each type its
// schema, and that it is listed and read.
func (h *handler) documents() (v3, v2 []byte, err error) {
	schemas, paths3, paths2 := map[string]any{}, map[string]map[string]any{}, map[string]map[string]any{}
	for _, s := range h.order {
		name := h.modelName(s.t.Kind)
		gvk := map[string]any{"group": h.gv.Group, "version": h.gv.Version, "kind": s.t.Kind}
		if schemas[name], err = s.model(gvk); err != nil {
			return nil, nil, err
		}
		base := h.base + "/"
		if s.t.Namespaced {
			base += "namespaces/{namespace}/"
		}
		for path, action := range map[string]string{base + s.t.Plural: "list", base + s.t.Plural + "/{name}": "get"} {
			operation := func(response map[string]any) map[string]any {
				response["description"] = "OK"
				return map[string]any{"get": map[string]any{
					"operationId":         action + strings.ToUpper(s.t.Plural[:1]) + s.t.Plural[1:],
					"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk,
					"responses": map[string]any{"200": response},
				}}
			}
			paths3[path] = operation(map[string]any{"content": map[string]any{
				"application/json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + name}},
			}})
			paths2[path] = operation(map[string]any{"schema": map[string]any{"$ref": "#/definitions/" + name}})
			paths3[path]["parameters"] = parameters(path, map[string]any{"schema": map[string]any{"type": "string"}})
			paths2[path]["parameters"] = parameters(path, map[string]any{"type": "string"})
		}
	}
	info := map[string]any{"title": h.gv.String(), "version": h.gv.Version}
	if v3, err = json.Marshal(map[string]any{
		"openapi": "3.0.0", "info": info, "paths": paths3, "components": map[string]any{"schemas": schemas},
	}); err != nil {
		return nil, nil, err
	}
	v2, err = json.Marshal(map[string]any{"swagger": "2.0", "info": info, "paths": paths2, "definitions": schemas})
	return v3, v2, err
}

// parameters are those of a path, each a string as the version of OpenAPI says it.
func parameters(path string, text map[string]any) []any {
	out := []any{}
	for _, name := range []string{"namespace", "name"} {
		if strings.Contains(path, "{"+name+"}") {
			p := map[string]any{"name": name, "in": "path", "required": true}
			maps.Copy(p, text)
			out = append(out, p)
		}
	}
	return out
}

// modelName is the group backwards, as models of Kubernetes are called.
func (h *handler) modelName(kind string) string {
	parts := strings.Split(h.gv.Group, ".")
	slices.Reverse(parts)
	return strings.Join(append(parts, h.gv.Version, kind), ".")
}

// model is the schema of the kind with what all kinds have.
func (s *Store) model(gvk map[string]any) (map[string]any, error) {
	out := map[string]any{}
	if len(s.t.Schema) > 0 {
		if err := json.Unmarshal(s.t.Schema, &out); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", s.t.Kind, err)
		}
	}
	properties, _ := out["properties"].(map[string]any)
	if properties == nil {
		properties = map[string]any{}
	}
	for name, text := range map[string]string{
		"apiVersion": "APIVersion is the group and version of the object.", "kind": "Kind is the type of the object.",
	} {
		if properties[name] == nil {
			properties[name] = map[string]any{"type": "string", "description": text}
		}
	}
	if properties["metadata"] == nil {
		properties["metadata"] = map[string]any{"type": "object", "description": "Standard object's metadata."}
	}
	out["type"], out["properties"] = "object", properties
	out["x-kubernetes-group-version-kind"] = []any{gvk}
	return out, nil
}

func hash(document []byte) string {
	sum := sha256.Sum256(document)
	return strings.ToUpper(hex.EncodeToString(sum[:16]))
}
