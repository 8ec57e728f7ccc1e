package crdv1

import (
	"encoding/json"
	"fmt"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Encode writes a CustomResourceDefinition as a JSON tree, with apiVersion and kind.
func Encode(c *apiextensionsv1.CustomResourceDefinition) (map[string]any, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode customresourcedefinition %q: %w", c.Name, err)
	}
	var tree map[string]any
	if err := utiljson.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("encode customresourcedefinition %q: %w", c.Name, err)
	}
	tree["apiVersion"], tree["kind"] = apiextensionsv1.SchemeGroupVersion.String(), "CustomResourceDefinition"
	if meta, ok := tree["metadata"].(map[string]any); ok && meta["creationTimestamp"] == nil {
		delete(meta, "creationTimestamp")
	}
	// Go writes null for empty lists that it always writes.
	if status, ok := tree["status"].(map[string]any); ok {
		maps.DeleteFunc(status, func(_ string, v any) bool { return v == nil })
	}
	return tree, nil
}
