package resource_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/crdv1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const crontab = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations: {controller-gen.kubebuilder.io/version: v0.20.0}
  name: crontabs.stable.example.com
spec:
  group: stable.example.com
  names: {plural: crontabs, singular: crontab, kind: CronTab, listKind: CronTabList, shortNames: [ct], categories: [all]}
  scope: Namespaced
  conversion: {strategy: None}
  versions:
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    deprecationWarning: use v1
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cron, description: when, priority: 1, format: x}
    selectableFields: [{jsonPath: .spec.cron}]
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    schema:
      openAPIV3Schema:
        description: CronTab runs what it is told.
        title: dropped
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "self.replicas < 10", message: too many, reason: FieldValueForbidden, fieldPath: .replicas, optionalOldSelf: true}
            properties:
              title: {type: string, title: dropped, example: dropped, default: untitled}
              cron: {type: string, pattern: '^[0-9*/ ]+$', minLength: 1, maxLength: 64, nullable: true, default: null}
              replicas: {type: integer, format: int32, minimum: 0, maximum: 10, exclusiveMaximum: true, multipleOf: 1, default: 1, enum: [0, 1, 2]}
              port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              labels: {type: object, additionalProperties: {type: string}, maxProperties: 3}
              any: {type: object, additionalProperties: true}
              none: {type: object, additionalProperties: false}
              list:
                type: array
                maxItems: 5
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], x-kubernetes-map-type: atomic, properties: {name: {type: string, title: dropped}}}
              template: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
              choice:
                type: object
                oneOf: [{required: [a]}, {required: [b]}]
                not: {required: [c]}
                properties: {a: {type: string}, b: {type: string}, c: {type: string}}
          status:
            type: object
            properties: {replicas: {type: integer}, selector: {type: string}}
`

// What a plugin makes of a CRD is what the server makes of it.
func TestFromCRDAgreesWithTheServer(t *testing.T) {
	defs, err := resource.FromCRD([]byte("---\n" + crontab + "---\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(defs) != 1 {
		t.Fatalf("%d definitions", len(defs))
	}
	object := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal([]byte(crontab), object); err != nil {
		t.Fatal(err)
	}
	want, err := crdv1.FromCRD(object)
	if err != nil {
		t.Fatal(err)
	}
	got := defs[0]
	for i := range want.Versions {
		if a, b := schemaText(t, &got.Versions[i]), schemaText(t, &want.Versions[i]); a != b {
			t.Errorf("schema of %s\ngot  %s\nwant %s", want.Versions[i].Name, a, b)
		}
		got.Versions[i].Schema, want.Versions[i].Schema = nil, nil
	}
	want.Source = "" // the host's to set
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

func schemaText(t *testing.T, v *crd.Version) string {
	t.Helper()
	s, err := v.Schema()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFromCRDRefuses(t *testing.T) {
	for _, tc := range []struct{ name, from, to, want string }{
		{"an unknown field", "scope: Namespaced", "scoop: Namespaced", `unknown field "spec.scoop"`},
		{"an unknown field of a schema", "minLength: 1", "minLenth: 1", "spec.versions[1].schema.openAPIV3Schema: unknown field"},
		{"a field twice", "scope: Namespaced", "scope: Namespaced\n  scope: Cluster", "already set"},
		{"a wrong type", "maxLength: 64", "maxLength: many", "schema.openAPIV3Schema"},
		{"another kind", "kind: CustomResourceDefinition", "kind: ConfigMap", "is no CustomResourceDefinition"},
		{"another name", "name: crontabs.stable", "name: crontab.stable", `metadata.name: must be "crontabs.stable.example.com"`},
		{"no scope", "scope: Namespaced", "scope: \"\"", "spec.scope"},
		{"two storage versions", "storage: false", "storage: true", "2 are marked as storage"},
		{"no schema", "      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}", "      {}", "schema.openAPIV3Schema: is needed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(crontab, tc.from, tc.to, 1)
			if text == crontab {
				t.Fatalf("%q is not there", tc.from)
			}
			_, err := resource.FromCRD([]byte(text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	if _, err := resource.FromCRD([]byte("---\n")); err == nil {
		t.Error("nothing was accepted")
	}
}

func TestFromCRDFiles(t *testing.T) {
	files := fstest.MapFS{"crds/a.yaml": {Data: []byte(crontab)}, "crds/b.txt": {Data: []byte("no")}}
	defs, err := resource.FromCRDFiles(files, "crds/*.yaml")
	if err != nil || len(defs) != 1 || defs[0].Names.Kind != "CronTab" {
		t.Errorf("%v, %v", defs, err)
	}
	if _, err := resource.FromCRDFiles(files, "crd/*.yaml"); err == nil || !strings.Contains(err.Error(), "crd/*.yaml") {
		t.Errorf("no file: %v", err)
	}
}
