package crdv1_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/crdv1"
	"github.com/pintle-dev/pintle/crd/registry"
)

// testdata/invalid.json has what kube-apiserver 1.36 answered to creates of each object:
// "reason|field|message" of each cause.
func TestValidateIsUpstreams(t *testing.T) {
	text, err := os.ReadFile("testdata/invalid.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string
		Object *apiextensionsv1.CustomResourceDefinition
		Want   []string
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, tt := range cases {
		t.Run(tt.Name, func(t *testing.T) {
			crdv1.SetDefaults(tt.Object)
			crdv1.PrepareForCreate(tt.Object)
			errs := crdv1.Validate(context.Background(), tt.Object, nil)
			missing := slices.Clone(tt.Want)
			for _, e := range errs {
				// Values of whole objects are shown in upstream's internal form; the rest of
				// the message must be the same.
				i := slices.IndexFunc(missing, func(want string) bool {
					return strings.HasPrefix(want, string(e.Type)+"|"+e.Field+"|") && strings.HasSuffix(want, e.Detail)
				})
				if i < 0 {
					t.Errorf("not upstream's: %s|%s|%s", e.Type, e.Field, e.ErrorBody())
					continue
				}
				missing = slices.Delete(missing, i, i+1)
			}
			for _, m := range missing {
				t.Errorf("missing: %s", m)
			}
		})
	}
}

func widget() *apiextensionsv1.CustomResourceDefinition {
	c := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget", ShortNames: []string{"wd"}, Categories: []string{"all"}},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object",
					Properties: map[string]apiextensionsv1.JSONSchemaProps{
						"spec": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
							"size": {Type: "integer", Default: &apiextensionsv1.JSON{Raw: []byte("3")}},
							"mode": {Type: "string", Enum: []apiextensionsv1.JSON{{Raw: []byte(`"a"`)}, {Raw: []byte(`"b"`)}}},
							"any":  {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true}},
						}, XValidations: apiextensionsv1.ValidationRules{{Rule: "self.size < 10", Message: "too big"}}},
					},
				}},
				Subresources: &apiextensionsv1.CustomResourceSubresources{
					Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
					Scale:  &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size"},
				},
				AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{{Name: "Size", Type: "integer", JSONPath: ".spec.size"}},
				SelectableFields:         []apiextensionsv1.SelectableField{{JSONPath: ".spec.mode"}},
			}},
		},
	}
	crdv1.SetDefaults(c)
	crdv1.PrepareForCreate(c)
	return c
}

func TestFromCRD(t *testing.T) {
	c := widget()
	if errs := crdv1.Validate(context.Background(), c, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	d, err := crdv1.FromCRD(c)
	if err != nil {
		t.Fatal(err)
	}
	v := d.Versions[0]
	if d.Names.Singular != "widget" || d.Names.ListKind != "WidgetList" || d.Scope != crd.NamespaceScoped || d.Source != "crd:widgets.example.com" {
		t.Errorf("definition %+v", d)
	}
	if !v.Status || v.Scale.SpecReplicasPath != ".spec.size" || v.Columns[0].JSONPath != ".spec.size" || v.SelectableFields[0] != ".spec.mode" {
		t.Errorf("version %+v", v)
	}
	r := registry.New()
	if err := r.Register(d); err != nil {
		t.Fatal(err)
	}
	typ, ok := r.Lookup(d.GroupResource().WithVersion("v1"))
	if !ok {
		t.Fatal("not registered")
	}
	compiled, err := typ.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{"spec": map[string]any{"mode": "c", "nonsense": true}}
	if unknown := compiled.Prune(object); !slices.Equal(unknown, []string{"spec.nonsense"}) {
		t.Errorf("unknown %v", unknown)
	}
	compiled.Default(object)
	if object["spec"].(map[string]any)["size"] != int64(3) {
		t.Errorf("size is %v", object["spec"])
	}
	if errs := compiled.Validate(context.Background(), object, nil); len(errs) == 0 || errs[0].Field != "spec.mode" {
		t.Errorf("an unknown mode: %v", errs)
	}
	object["spec"] = map[string]any{"size": int64(11)}
	errs := compiled.Validate(context.Background(), object, nil)
	if len(errs) != 1 || errs[0].Detail != "too big" {
		t.Errorf("a broken rule: %v", errs)
	}
}

func TestValidateUpdate(t *testing.T) {
	established := func() *apiextensionsv1.CustomResourceDefinition {
		c := widget()
		crdv1.UpdateStatus(c, nil, metav1.Now())
		return c
	}
	tests := []struct {
		name   string
		change func(*apiextensionsv1.CustomResourceDefinition)
		want   []string
	}{
		{"nothing", func(c *apiextensionsv1.CustomResourceDefinition) {}, nil},
		{"a column", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].AdditionalPrinterColumns[0].Name = "N"
		}, nil},
		{"scope", func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Scope = apiextensionsv1.ClusterScoped }, []string{"spec.scope"}},
		{"kind", func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Names.Kind = "Gadget" }, []string{"spec.names.kind"}},
		{"group", func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Group = "example.org" }, []string{"spec.group"}},
		{"a broken schema", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["x"] = apiextensionsv1.JSONSchemaProps{}
		}, []string{"spec.validation.openAPIV3Schema.properties[x].type"}},
		{"a version that is stored", func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Name = "v2" }, []string{"status.storedVersions[0]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, c := established(), established()
			c.ResourceVersion, old.ResourceVersion = "1", "1"
			tt.change(c)
			crdv1.PrepareForUpdate(c, old)
			var got []string
			for _, e := range crdv1.Validate(context.Background(), c, old) {
				got = append(got, e.Field)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUpdateStatus(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	conditions := func(c *apiextensionsv1.CustomResourceDefinition) string {
		var out []string
		for _, cond := range c.Status.Conditions {
			out = append(out, string(cond.Type)+"="+string(cond.Status)+":"+cond.Reason)
		}
		return strings.Join(out, " ")
	}
	c := widget()
	if !crdv1.UpdateStatus(c, nil, now) {
		t.Error("a new definition's status does not change")
	}
	if got, want := conditions(c), "NamesAccepted=True:NoConflicts Established=True:InitialNamesAccepted"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Equal(c.Status.StoredVersions, []string{"v1"}) || c.Status.AcceptedNames.Kind != "Widget" {
		t.Errorf("status %+v", c.Status)
	}
	if crdv1.UpdateStatus(c, nil, metav1.NewTime(now.Add(time.Hour))) {
		t.Error("the status changes without a reason")
	}

	other := &crd.Definition{Group: "example.com", Names: crd.Names{Plural: "gadgets", Singular: "gadget", Kind: "Widget", ListKind: "WidgetList", ShortNames: []string{"wd"}}}
	foreign := &crd.Definition{Group: "example.org", Names: crd.Names{Plural: "widgets", Kind: "Widget"}}
	late := widget()
	crdv1.UpdateStatus(late, crdv1.Taken{other, foreign}, now)
	if got, want := conditions(late), "NamesAccepted=False:ListKindConflict Established=False:NotAccepted"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if late.Status.AcceptedNames.Plural != "widgets" || late.Status.AcceptedNames.Kind != "" || late.Status.AcceptedNames.ShortNames != nil {
		t.Errorf("accepted %+v", late.Status.AcceptedNames)
	}
	// Established is for good, also where a new name is refused.
	c.Spec.Names.ShortNames = []string{"gadgets"}
	crdv1.UpdateStatus(c, crdv1.Taken{other}, now)
	if got, want := conditions(c), "NamesAccepted=False:ShortNamesConflict Established=True:InitialNamesAccepted"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Equal(c.Status.AcceptedNames.ShortNames, []string{"wd"}) {
		t.Errorf("accepted %v", c.Status.AcceptedNames.ShortNames)
	}
	broken := widget()
	broken.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["x"] = apiextensionsv1.JSONSchemaProps{}
	crdv1.UpdateStatus(broken, nil, now)
	if !strings.Contains(conditions(broken), "NonStructuralSchema=True:Violations") {
		t.Errorf("got %s", conditions(broken))
	}
}

func TestDefinitionOfDefinitions(t *testing.T) {
	r := registry.New()
	if err := r.Register(crdv1.Definition()); err != nil {
		t.Fatal(err)
	}
	typ, ok := r.LookupKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	if !ok {
		t.Fatal("not registered")
	}
	compiled, err := typ.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	c := widget()
	tree, err := crdv1.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := json.Marshal(tree)
	unknown, err := compiled.Normalize(tree)
	if err != nil || len(unknown) > 0 {
		t.Fatalf("a valid definition: unknown %v, %v", unknown, err)
	}
	if after, _ := json.Marshal(tree); string(after) != string(before) {
		t.Errorf("normalized to %s\nfrom %s", after, before)
	}
	compiled.Default(tree)
	if errs := compiled.Validate(context.Background(), tree, nil); len(errs) > 0 {
		t.Error(errs)
	}
	back, err := crdv1.Decode(tree)
	if err != nil || back.Spec.Names.Kind != "Widget" || len(back.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties) != 1 {
		t.Errorf("decoded %+v, %v", back, err)
	}

	var odd map[string]any
	if err := utiljson.Unmarshal([]byte(`{"spec":{"nonsense":1,"versions":[{"schema":{"openAPIV3Schema":{"foo":1,"properties":{"a":{"bar":2,"items":{"baz":3}},"b":{"additionalProperties":true,"default":{"anything":1}}}}}}]}}`), &odd); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"spec.nonsense", "spec.versions[0].schema.openAPIV3Schema.foo",
		"spec.versions[0].schema.openAPIV3Schema.properties.a.bar",
		"spec.versions[0].schema.openAPIV3Schema.properties.a.items.baz",
	}
	if unknown := compiled.Prune(odd); !slices.Equal(unknown, want) {
		t.Errorf("unknown %v, want %v", unknown, want)
	}
	if typed, err := compiled.Typed(); err != nil {
		t.Error(err)
	} else if _, err := typed.FromUnstructured(tree); err != nil {
		t.Error(err)
	}
	_, _, err = compiled.PatchMeta().LookupPatchMetadataForStruct("spec")
	if err != nil {
		t.Error(err)
	}
}
