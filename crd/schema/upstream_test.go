package schema_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/crd/schema"
)

// upstream is a custom resource's schema as kube-apiserver uses it.
type upstream struct {
	structural *structural.Structural
	validator  validation.SchemaValidator
}

func newUpstream(t fatal, s *schema.Schema) *upstream {
	var props apiextensionsv1.JSONSchemaProps
	b, err := json.Marshal(s)
	must(t, err)
	must(t, json.Unmarshal(b, &props))
	var internal apiextensions.JSONSchemaProps
	must(t, apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&props, &internal, nil))
	st, err := structural.NewStructural(&internal)
	must(t, err)
	v, _, err := validation.NewSchemaValidator(&internal)
	must(t, err)
	return &upstream{st, v}
}

type fatal interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

func must(t fatal, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (u *upstream) prune(obj map[string]any) []string {
	return pruning.PruneWithOptions(obj, u.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
}

func (u *upstream) setDefaults(obj map[string]any) {
	defaulting.PruneNonNullableNullsWithoutDefaults(obj, u.structural)
	defaulting.Default(obj, u.structural)
}

func (u *upstream) validate(obj, old map[string]any) field.ErrorList {
	var errs field.ErrorList
	if old == nil {
		errs = validation.ValidateCustomResource(nil, obj, u.validator)
		return append(errs, listtype.ValidateListSetsAndMaps(nil, u.structural, obj)...)
	}
	return validation.ValidateCustomResourceUpdate(nil, obj, old, u.validator, validation.WithRatcheting(nil))
}

func lines(errs field.ErrorList) []string {
	seen := map[string]bool{}
	for _, e := range errs {
		seen[string(e.Type)+"|"+e.Error()] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// The properties below hold our walk to upstream's for arbitrary structural schemas and
// arbitrary objects.

func TestPruneIsUpstreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rootSchema(t)
		obj := anyObject(t)
		theirs := runtime.DeepCopyJSON(obj)
		wantUnknown := newUpstream(t, s).prune(theirs)
		c, err := schema.Compile(s)
		must(t, err)
		unknown := c.Prune(obj)
		if !equalJSON(obj, theirs) || !slices.Equal(unknown, wantUnknown) {
			t.Fatalf("schema %s\npruned %s %v\nwant   %s %v", mustJSON(s), mustJSON(obj), unknown, mustJSON(theirs), wantUnknown)
		}
		if again := c.Prune(obj); len(again) > 0 {
			t.Fatalf("pruning twice dropped %v", again)
		}
	})
}

func TestDefaultIsUpstreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rootSchema(t)
		obj := anyObject(t)
		theirs := runtime.DeepCopyJSON(obj)
		newUpstream(t, s).setDefaults(theirs)
		c, err := schema.Compile(s)
		must(t, err)
		c.Default(obj)
		if !equalJSON(obj, theirs) {
			t.Fatalf("schema %s\ndefaulted %s\nwant      %s", mustJSON(s), mustJSON(obj), mustJSON(theirs))
		}
		once := runtime.DeepCopyJSON(obj)
		c.Default(obj)
		if !equalJSON(obj, once) {
			t.Fatalf("defaulting twice gave %s after %s", mustJSON(obj), mustJSON(once))
		}
	})
}

func TestValidateIsUpstreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rootSchema(t)
		obj := anyObject(t)
		want := lines(newUpstream(t, s).validate(obj, nil))
		c, err := schema.Compile(s)
		must(t, err)
		got := lines(c.Validate(context.Background(), obj, nil))
		if !slices.Equal(got, want) {
			t.Fatalf("schema %s\nobject %s\ngot  %s\nwant %s", mustJSON(s), mustJSON(obj), strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	})
}

func TestRatchetingIsUpstreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Upstream ratchets list types apart, and holds objects with unknown fields for
		// changed.
		s := plain(rootSchema(t))
		c, err := schema.Compile(s)
		must(t, err)
		old := anyObject(t)
		obj := runtime.DeepCopyJSON(old)
		change(t, obj)
		c.Prune(old)
		c.Prune(obj)
		want := lines(newUpstream(t, s).validate(obj, old))
		got := lines(c.Validate(context.Background(), obj, old))
		if !slices.Equal(got, want) {
			t.Fatalf("schema %s\nold    %s\nobject %s\ngot  %s\nwant %s", mustJSON(s), mustJSON(old), mustJSON(obj), strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	})
}

func plain(s *schema.Schema) *schema.Schema {
	if s == nil {
		return nil
	}
	s.ListType, s.ListMapKeys, s.PreserveUnknownFields = "", nil, false
	for _, p := range s.Properties {
		plain(p)
	}
	plain(s.Items)
	plain(s.AdditionalProperties)
	return s
}

// change alters a part of an object.
func change(t *rapid.T, obj map[string]any) {
	spec, ok := obj["spec"].(map[string]any)
	if !ok || len(spec) == 0 {
		obj["spec"] = anyValue(t, 2)
		return
	}
	keys := slices.Sorted(maps.Keys(spec))
	spec[rapid.SampledFrom(keys).Draw(t, "changed")] = anyValue(t, 2)
}

// rootSchema draws a structural schema of an object with a spec.
func rootSchema(t *rapid.T) *schema.Schema {
	return &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{"spec": anySchema(t, 3)}}
}

var names = []string{"a", "b", "c", "d"}

func anySchema(t *rapid.T, depth int) *schema.Schema {
	kinds := []string{"string", "integer", "number", "boolean", "int-or-string"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "array", "map", "keyed")
	}
	s := &schema.Schema{Nullable: rapid.IntRange(0, 5).Draw(t, "nullable") == 0}
	s.Type = rapid.SampledFrom(kinds).Draw(t, "kind")
	switch s.Type {
	case "object":
		s.Properties = map[string]*schema.Schema{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(t, "properties") {
			p := anySchema(t, depth-1)
			if rapid.IntRange(0, 3).Draw(t, "has default") == 0 {
				p.Default = json.RawMessage(mustJSON(valueFor(t, p)))
			}
			s.Properties[name] = p
		}
		s.Required = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 2, rapid.ID[string]).Draw(t, "required")
		s.PreserveUnknownFields = rapid.IntRange(0, 4).Draw(t, "preserve") == 0
		s.MinProperties, s.MaxProperties = maybe(t, "minProperties", 2), maybe(t, "maxProperties", 3)
		anyJunctors(t, s)
	case "map":
		s.Type = "object"
		s.AdditionalProperties = anySchema(t, depth-1)
	case "array":
		s.Items = anySchema(t, depth-1)
		s.MinItems, s.MaxItems = maybe(t, "minItems", 2), maybe(t, "maxItems", 2)
		if rapid.IntRange(0, 3).Draw(t, "set") == 0 && s.Items.Type != "object" && s.Items.Type != "array" {
			s.ListType = "set"
			s.Items.Nullable = false
		}
	case "keyed":
		s.Type, s.ListType, s.ListMapKeys = "array", "map", []string{"a"}
		s.Items = &schema.Schema{Type: "object", Properties: map[string]*schema.Schema{
			"a": {Type: "string"}, "b": anySchema(t, depth-1),
		}}
		if rapid.Bool().Draw(t, "two keys") {
			s.ListMapKeys = []string{"a", "c"}
			s.Items.Properties["c"] = &schema.Schema{Type: "integer"}
		}
	case "string":
		s.MinLength, s.MaxLength = maybe(t, "minLength", 2), maybe(t, "maxLength", 2)
		s.Pattern = rapid.SampledFrom([]string{"", "", "^[a-z]*$"}).Draw(t, "pattern")
		s.Format = rapid.SampledFrom([]string{"", "", "", "ipv4", "date-time", "nonsense"}).Draw(t, "format")
		if rapid.IntRange(0, 4).Draw(t, "enum") == 0 {
			s.Enum = []json.RawMessage{json.RawMessage(`"x"`), json.RawMessage(`"yy"`)}
		}
	case "integer", "number":
		if s.Type == "integer" {
			s.Format = rapid.SampledFrom([]string{"", "int32", "int64"}).Draw(t, "format")
		}
		s.Minimum, s.Maximum = bound(t, "minimum"), bound(t, "maximum")
		s.ExclusiveMinimum = s.Minimum != nil && rapid.Bool().Draw(t, "exclusiveMinimum")
		if rapid.IntRange(0, 4).Draw(t, "multipleOf") == 0 {
			m := float64(2)
			s.MultipleOf = &m
		}
		if rapid.IntRange(0, 4).Draw(t, "enum") == 0 {
			s.Enum = []json.RawMessage{json.RawMessage(`1`), json.RawMessage(`2`)}
		}
	case "int-or-string":
		s.Type, s.IntOrString = "", true
	}
	return s
}

// anyJunctors adds value validations that members of a union would have.
func anyJunctors(t *rapid.T, s *schema.Schema) {
	member := func(i int) *schema.Schema {
		name := names[i]
		m := &schema.Schema{Required: []string{name}}
		if s.Properties[name] != nil && s.Properties[name].Type == "string" {
			n := int64(1)
			m.Properties = map[string]*schema.Schema{name: {MinLength: &n}}
		}
		return m
	}
	switch rapid.IntRange(0, 9).Draw(t, "junctor") {
	case 0:
		s.AnyOf = []*schema.Schema{member(0), member(1)}
	case 1:
		s.OneOf = []*schema.Schema{member(0), member(1)}
	case 2:
		s.AllOf = []*schema.Schema{member(0), member(1)}
	case 3:
		s.Not = member(2)
	}
}

func maybe(t *rapid.T, label string, n int64) *int64 {
	if rapid.IntRange(0, 4).Draw(t, label) == 0 {
		return &n
	}
	return nil
}

func bound(t *rapid.T, label string) *float64 {
	if rapid.IntRange(0, 3).Draw(t, label) == 0 {
		f := float64(rapid.IntRange(-1, 3).Draw(t, label+" value"))
		return &f
	}
	return nil
}

// valueFor draws a value of a schema's type, for defaults.
func valueFor(t *rapid.T, s *schema.Schema) any {
	switch s.Type {
	case "object":
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if rapid.Bool().Draw(t, "in default") {
				out[name] = valueFor(t, s.Properties[name])
			}
		}
		return out
	case "array":
		return []any{}
	case "integer", "number":
		return int64(rapid.IntRange(0, 3).Draw(t, "default"))
	case "boolean":
		return true
	}
	return rapid.SampledFrom([]string{"x", "yy"}).Draw(t, "default")
}

func anyObject(t *rapid.T) map[string]any {
	out := map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "spec": anyValue(t, 4)}
	if rapid.IntRange(0, 3).Draw(t, "extra") == 0 {
		out["extra"] = anyValue(t, 1)
	}
	return out
}

func anyValue(t *rapid.T, depth int) any {
	most := 8
	if depth <= 0 {
		most = 5
	}
	switch rapid.IntRange(0, most).Draw(t, "value") {
	case 0:
		return nil
	case 1:
		return rapid.SampledFrom([]string{"", "x", "yy", "Zzz", "10.0.0.1"}).Draw(t, "string")
	case 2:
		return rapid.SampledFrom([]int64{-1, 0, 1, 2, 3, 1 << 40}).Draw(t, "integer")
	case 3:
		return rapid.SampledFrom([]float64{0.5, 4.5}).Draw(t, "number")
	case 4, 5:
		return rapid.Bool().Draw(t, "boolean")
	case 6:
		var out = []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			out = append(out, anyValue(t, depth-1))
		}
		return out
	}
	out := map[string]any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(append([]string{"e"}, names...)), 0, 4, rapid.ID[string]).Draw(t, "keys") {
		out[name] = anyValue(t, depth-1)
	}
	return out
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}

func equalJSON(a, b any) bool { return mustJSON(a) == mustJSON(b) }
