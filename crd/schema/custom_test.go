package schema_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/crd/schema/rules"
)

// The messages are those of kube-apiserver 1.36 for custom resources.
func TestValidateMessages(t *testing.T) {
	spec := func(properties string) string {
		return `{"type":"object","properties":{"spec":{"type":"object","required":["must"],"properties":` + properties + `}}}`
	}
	tests := []struct {
		name, schema, object string
		want                 []string
	}{
		{"type", spec(`{"replicas":{"type":"integer"}}`), `{"spec":{"must":1,"replicas":"string"}}`,
			[]string{`spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"`}},
		{"required", spec(`{"must":{"type":"string"}}`), `{"spec":{}}`, []string{`spec.must: Required value`}},
		{"enum", spec(`{"mode":{"type":"string","enum":["a","b"]}}`), `{"spec":{"must":1,"mode":"c"}}`,
			[]string{`spec.mode: Unsupported value: "c": supported values: "a", "b"`}},
		{"long", spec(`{"s":{"type":"string","maxLength":2}}`), `{"spec":{"must":1,"s":"abc"}}`,
			[]string{`spec.s: Too long: may not be more than 2 bytes`}},
		{"pattern", spec(`{"s":{"type":"string","pattern":"^a$"}}`), `{"spec":{"must":1,"s":"b"}}`,
			[]string{`spec.s: Invalid value: "b": spec.s in body should match '^a$'`}},
		{"items", spec(`{"l":{"type":"array","maxItems":1,"items":{"type":"string"}}}`), `{"spec":{"must":1,"l":["a","b"]}}`,
			[]string{`spec.l: Too many: 2: must have at most 1 item`}},
		{"minimum", spec(`{"n":{"type":"integer","minimum":1}}`), `{"spec":{"must":1,"n":0}}`,
			[]string{`spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1`}},
		{"null", spec(`{"n":{"type":"integer"}}`), `{"spec":{"must":1,"n":null}}`,
			[]string{`spec.n: Invalid value: "null": spec.n in body must be of type integer: "null"`}},
		{"set", spec(`{"l":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}}`), `{"spec":{"must":1,"l":["a","b","a","a"]}}`,
			[]string{`spec.l[2]: Duplicate value: "a"`}},
		{"map keys", spec(`{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","properties":{"k":{"type":"string"}}}}}`),
			`{"spec":{"must":1,"l":[{"k":"a"},{"k":"a"}]}}`, []string{`spec.l[1]: Duplicate value: {"k":"a"}`}},
		{"int or string", spec(`{"p":{"x-kubernetes-int-or-string":true}}`), `{"spec":{"must":1,"p":true}}`,
			[]string{`spec.p: Invalid value: "boolean": spec.p in body must be of type integer,string: "boolean"`}},
		{"oneOf", spec(`{"u":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"oneOf":[{"required":["a"]},{"required":["b"]}]}}`), `{"spec":{"must":1,"u":{"a":"x","b":"x"}}}`,
			[]string{`<nil>: Invalid value: "": "spec.u" must validate one and only one schema (oneOf). Found 2 valid alternatives`}},
		{"metadata", `{"type":"object","properties":{"metadata":{"type":"object","properties":{"name":{"type":"string","maxLength":3}}}}}`, `{"metadata":{"name":"long"}}`,
			[]string{`metadata.name: Too long: may not be more than 3 bytes`}},
		{"embedded", spec(`{"e":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}`), `{"spec":{"must":1,"e":{"kind":"9x","metadata":{"name":"a/b"}}}}`,
			[]string{`spec.e.apiVersion: Required value`,
				`spec.e.kind: Invalid value: "9x": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
				`spec.e.metadata.name: Invalid value: "a/b": may not contain '/'`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			errs := compile(t, tt.schema).Validate(context.Background(), tree(t, tt.object), nil)
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
		})
	}
}

func TestMetadataOfCustomResources(t *testing.T) {
	c := compile(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"string"},
		"e":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object"}}}}}}}`)
	object := tree(t, `{"apiVersion":"e/v1","kind":"T","metadata":{"name":"x","nonsense":1,"creationTimestamp":null},
		"spec":{"e":{"apiVersion":"v1","kind":"P","metadata":{"name":"y","what":2},"other":1,"spec":{}}}}`)
	unknown, err := c.Normalize(object)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"apiVersion":"e/v1","kind":"T","metadata":{"name":"x"},"spec":{"e":{"apiVersion":"v1","kind":"P","metadata":{"name":"y"},"spec":{}}}}`
	if got := text(t, object); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := []string{"metadata.nonsense", "spec.e.metadata.what", "spec.e.other"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown %v, want %v", unknown, want)
	}
	for object, want := range map[string]string{
		`{"metadata":{"labels":{"a":1}}}`:              `json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string`,
		`{"metadata":"x"}`:                             `json: cannot unmarshal string into Go value of type v1.ObjectMeta`,
		`{"metadata":{"creationTimestamp":"zz"}}`:      `parsing time "zz" as "2006-01-02T15:04:05Z07:00": cannot parse "zz" as "2006"`,
		`{"spec":{"e":{"metadata":{"name":{}}}}}`:      `spec.e.metadata: Invalid value: {"name":{}}: json: cannot unmarshal object into Go struct field ObjectMeta.name of type string`,
		`{"metadata":{"ownerReferences":[{"uid":1}]}}`: `json: cannot unmarshal number into Go struct field OwnerReference.ownerReferences.uid of type string`,
	} {
		_, err = c.Normalize(tree(t, object))
		var decode *schema.DecodeError
		if !errors.As(err, &decode) || decode.Message != want {
			t.Errorf("%s\ngot  %v\nwant %s", object, err, want)
		}
	}
}

func compileWithRules(t *testing.T, text string) *schema.Compiled {
	t.Helper()
	c, err := schema.NewCompiler(rules.Compile).Compile(parseSchema(t, text), schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRules(t *testing.T) {
	c := compileWithRules(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{
		"min":{"type":"integer"},"max":{"type":"integer"},"fixed":{"type":"string","x-kubernetes-validations":[{"rule":"self == oldSelf","message":"may not change"}]}},
		"x-kubernetes-validations":[{"rule":"self.min <= self.max","messageExpression":"'min ' + string(self.min) + ' is over max'"}]}}}`)
	tests := []struct {
		name, object, old string
		want              []string
	}{
		{"good", `{"spec":{"min":1,"max":2}}`, ``, nil},
		{"bad", `{"spec":{"min":3,"max":2}}`, ``, []string{`spec: Invalid value: min 3 is over max`}},
		{"transition", `{"spec":{"min":1,"max":2,"fixed":"b"}}`, `{"spec":{"min":1,"max":2,"fixed":"a"}}`, []string{`spec.fixed: Invalid value: "b": may not change`}},
		{"unchanged is let be", `{"metadata":{"labels":{"a":"b"}},"spec":{"min":3,"max":2}}`, `{"spec":{"min":3,"max":2}}`, nil},
		{"wrong shape", `{"spec":{"min":"x","max":2}}`, ``, []string{
			`spec.min: Invalid value: "string": spec.min in body must be of type integer: "string"`,
			`<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var old map[string]any
			if tt.old != "" {
				old = tree(t, tt.old)
			}
			var got []string
			for _, e := range c.Validate(context.Background(), tree(t, tt.object), old) {
				// Of a rule on an object the value is the whole object, shown in part.
				if e.Type == field.ErrorTypeInvalid && e.Field == "spec" {
					got = append(got, e.Field+": Invalid value: "+e.Detail)
					continue
				}
				got = append(got, e.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestRulesBudget(t *testing.T) {
	c := compileWithRules(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{"l":{"type":"array","items":{"type":"string"}}},
		"x-kubernetes-validations":[{"rule":"self.l.all(a, self.l.all(b, self.l.all(c, a != b || b != c || a == c)))"}]}}}`)
	list := make([]any, 200)
	for i := range list {
		list[i] = strings.Repeat("x", i+1)
	}
	errs := c.Validate(context.Background(), map[string]any{"spec": map[string]any{"l": list}}, nil)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "cost limit exceeded") {
		t.Errorf("got %v, want an error about the cost limit", errs)
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct{ name, schema, want string }{
		{"type", `{"type":"object","properties":{"spec":{"type":"strnig"}}}`, `properties[spec]: type: "strnig" is none of`},
		{"list type", `{"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"bag"}}}`, `properties[l]: x-kubernetes-list-type: "bag"`},
		{"map keys", `{"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map"}}}`, `properties[l]: x-kubernetes-list-map-keys`},
		{"null", `{"type":"object","properties":{"l":null}}`, `properties[l]: null is not a schema`},
		{"reference", `{"type":"object","properties":{"l":{"$ref":"nowhere"}}}`, `properties[l]: $ref: component "nowhere" is not known`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := schema.Compile(parseSchema(t, tt.schema))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestRecursiveComponents(t *testing.T) {
	all := map[string]*schema.Schema{
		"tree": parseSchema(t, `{"type":"object","properties":{"value":{"type":"integer","default":1},"children":{"type":"array","items":{"$ref":"tree"}}}}`),
		"loop": parseSchema(t, `{"type":"object","properties":{"next":{"$ref":"loop","default":{}}}}`),
	}
	root := &schema.Components{Get: func(name string) *schema.Schema { return all[name] }}
	s := parseSchema(t, `{"type":"object","properties":{"spec":{"$ref":"tree"}}}`)
	s.Root = root
	c, err := schema.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	object := tree(t, `{"spec":{"children":[{"value":2,"children":[{"x":1}]}]}}`)
	unknown := c.Prune(object)
	c.Default(object)
	if got, want := text(t, object), `{"spec":{"children":[{"children":[{"value":1}],"value":2}],"value":1}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := []string{"spec.children[0].children[0].x"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown %v, want %v", unknown, want)
	}
	if errs := c.Validate(context.Background(), tree(t, `{"spec":{"children":[{"value":"x"}]}}`), nil); len(errs) != 1 || errs[0].Field != "spec.children[0].value" {
		t.Errorf("got %v", errs)
	}
	endless := parseSchema(t, `{"type":"object","properties":{"spec":{"$ref":"loop"}}}`)
	endless.Root = root
	if _, err := schema.Compile(endless); err == nil || !strings.Contains(err.Error(), `component "loop"`) {
		t.Errorf("a default that contains itself: got %v", err)
	}
}

func FuzzWrite(f *testing.F) {
	f.Add(`{"type":"object","properties":{"spec":{"type":"object"}}}`, `{"spec":{"a":[1,{"b":null}]}}`)
	f.Add(`{"type":"object","properties":{"a":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object"}}}}`, `{"a":[{"k":{}},null,"x"],"metadata":[]}`)
	f.Add(`{"properties":{"a":{"x-kubernetes-embedded-resource":true},"b":{"additionalProperties":{"not":{}}}}}`, `{"a":{"metadata":7},"b":{"c":null}}`)
	pod := compileBuiltin(f, "io.k8s.api.core.v1.Pod", "Pod")
	f.Fuzz(func(t *testing.T, schemaText, objectText string) {
		var object, again map[string]any
		if json.Unmarshal([]byte(objectText), &object) != nil || object == nil {
			return
		}
		_ = json.Unmarshal([]byte(objectText), &again)
		walk := func(c *schema.Compiled, object map[string]any) {
			_, _ = c.Normalize(object)
			c.Default(object)
			c.Validate(context.Background(), object, nil)
			c.Validate(context.Background(), object, object)
			if typ, err := c.Typed(); err == nil {
				_, _ = typ.FromUnstructured(object)
			}
		}
		walk(pod, again)
		s := &schema.Schema{}
		if json.Unmarshal([]byte(schemaText), s) != nil {
			return
		}
		if c, err := schema.Compile(s); err == nil {
			walk(c, object)
		}
	})
}
