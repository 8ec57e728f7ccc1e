package policy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/cel/mutation"
	"k8s.io/apiserver/pkg/cel/mutation/dynamic"
)

// jsonPatcher evaluates to a JSON patch and applies it. Upstream's fails on values that are
// lists of objects.
type jsonPatcher struct{ evaluator plugincel.MutatingEvaluator }

var _ patch.Patcher = jsonPatcher{}

// Patch implements patch.Patcher. A patch whose test fails changes nothing.
func (p jsonPatcher) Patch(ctx context.Context, r patch.Request, budget int64) (runtime.Object, error) {
	if errs := p.evaluator.CompilationErrors(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	request := plugincel.CreateAdmissionRequest(r.VersionedAttributes.Attributes,
		metav1.GroupVersionResource(r.MatchedResource), metav1.GroupVersionKind(r.VersionedAttributes.VersionedKind))
	result, _, err := p.evaluator.ForInput(ctx, r.VersionedAttributes, request, r.OptionalVariables, r.Namespace, budget)
	if err == nil {
		err = result.Error
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the expression
	}
	operations, err := operationsOf(result.EvalResult)
	if err != nil {
		return nil, err
	}
	before, err := json.Marshal(r.VersionedAttributes.VersionedObject)
	if err != nil {
		return nil, fmt.Errorf("failed to create JSON patch: %w", err)
	}
	after, err := operations.Apply(before)
	if errors.Is(err, jsonpatch.ErrTestFailed) {
		return r.VersionedAttributes.VersionedObject, nil
	}
	if err != nil {
		return nil, fmt.Errorf("JSON Patch: %w", err)
	}
	changed := &unstructured.Unstructured{}
	if err := changed.UnmarshalJSON(after); err != nil {
		return nil, fmt.Errorf("JSON Patch: %w", err)
	}
	return changed, nil
}

func operationsOf(v ref.Val) (jsonpatch.Patch, error) {
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, errors.New("type mismatch: JSONPatchType.expression should evaluate to array")
	}
	var patch []map[string]any
	for it := list.Iterator(); it.HasNext() == types.True; {
		one := it.Next()
		op, ok := one.(*mutation.JSONPatchVal)
		if !ok {
			return nil, fmt.Errorf("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of %T", one)
		}
		out := map[string]any{"op": op.Op, "path": op.Path}
		if op.From != "" {
			out["from"] = op.From
		}
		if op.Val != nil {
			value, err := valueOf(op.Val)
			if err != nil {
				return nil, err
			}
			out["value"] = value
		}
		patch = append(patch, out)
	}
	data, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("JSONPath valueExpression evaluated to a type that could not marshal to JSON: %w", err)
	}
	if len(patch) == 0 {
		return nil, nil
	}
	decoded, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, fmt.Errorf("JSON Patch: %w", err)
	}
	return decoded, nil
}

// valueOf is a CEL value as JSON.
func valueOf(v ref.Val) (any, error) {
	switch v := v.(type) {
	case *dynamic.ObjectVal:
		if err := v.CheckTypeNamesMatchFieldPathNames(); err != nil {
			return nil, fmt.Errorf("type mismatch: %w", err)
		}
		return v.Value(), nil
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			element, err := valueOf(it.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, element)
		}
		return out, nil
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.Value().(string)
			if !ok {
				return nil, fmt.Errorf("JSONPath valueExpression evaluated to a map with a key of type %v, which JSON has not", key.Type())
			}
			value, err := valueOf(v.Get(key))
			if err != nil {
				return nil, err
			}
			out[name] = value
		}
		return out, nil
	case types.Null:
		return nil, nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp, types.Duration:
		return v.ConvertToType(types.StringType).Value(), nil
	case types.Bool, types.Int, types.Uint, types.Double, types.String:
		return v.Value(), nil
	}
	return nil, fmt.Errorf("JSONPath valueExpression evaluated to a type that could not marshal to JSON: %v", v.Type())
}
