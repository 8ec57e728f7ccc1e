package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/pintle-dev/pintle/crd/schema"
)

// CheckSettings checks a plugin's settings against its schema and returns them with the
// schema's defaults. Errors name fields by their path below "settings".
func CheckSettings(ctx context.Context, rawSchema, settings []byte) ([]byte, error) {
	var tree any = map[string]any{}
	if len(settings) > 0 && string(settings) != "null" {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(settings, &tree); err != nil {
			return nil, fmt.Errorf("not valid JSON: %w", err)
		}
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be an object")
	}
	if len(rawSchema) == 0 {
		if len(object) > 0 {
			return nil, fmt.Errorf("this plugin takes no settings; remove them")
		}
		return nil, nil
	}
	inner := &schema.Schema{}
	if err := json.Unmarshal(rawSchema, inner); err != nil {
		return nil, fmt.Errorf("the plugin's own schema is not valid JSON: %w", err)
	}
	// One level around it, as a type's outermost level would be taken for an object's,
	// with its apiVersion, kind and metadata.
	compiled, err := schema.Compile(&schema.Schema{
		Type: "object", Properties: map[string]*schema.Schema{"settings": inner},
	})
	if err != nil {
		return nil, fmt.Errorf("the plugin's own schema is not valid: %w", err)
	}
	root := map[string]any{"settings": object}
	if unknown := compiled.Prune(root); len(unknown) > 0 {
		return nil, fmt.Errorf("unknown field %s", strings.Join(unknown, ", "))
	}
	compiled.Default(root)
	if errs := compiled.Validate(ctx, root, nil); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	out, err := json.Marshal(root["settings"])
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return out, nil
}
