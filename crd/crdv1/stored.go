package crdv1

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// Summary reads a stored CustomResourceDefinition without its schemas and managedFields,
// which are most of it.
func Summary(data []byte) (*apiextensionsv1.CustomResourceDefinition, error) {
	c := &apiextensionsv1.CustomResourceDefinition{}
	meta, spec := []byte("{"), []byte("{")
	member := func(to []byte, key, value gjson.Result) []byte {
		if len(to) > 1 {
			to = append(to, ',')
		}
		return append(append(append(to, key.Raw...), ':'), value.Raw...)
	}
	var status string
	gjson.ParseBytes(data).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "metadata":
			value.ForEach(func(key, value gjson.Result) bool {
				if key.Str != "managedFields" && key.Str != "annotations" {
					meta = member(meta, key, value)
				}
				return true
			})
		case "spec":
			value.ForEach(func(key, value gjson.Result) bool {
				if key.Str != "versions" {
					spec = member(spec, key, value)
					return true
				}
				versions := []byte("[")
				value.ForEach(func(_, version gjson.Result) bool {
					if len(versions) > 1 {
						versions = append(versions, ',')
					}
					one := []byte("{")
					version.ForEach(func(key, value gjson.Result) bool {
						if key.Str != "schema" {
							one = member(one, key, value)
						}
						return true
					})
					versions = append(append(versions, one...), '}')
					return true
				})
				spec = member(spec, key, gjson.Result{Raw: string(append(versions, ']'))})
				return true
			})
		case "status":
			status = value.Raw
		}
		return true
	})
	if err := json.Unmarshal(append(meta, '}'), &c.ObjectMeta); err != nil {
		return nil, fmt.Errorf("decode customresourcedefinition: metadata: %w", err)
	}
	if err := json.Unmarshal(append(spec, '}'), &c.Spec); err != nil {
		return nil, fmt.Errorf("decode customresourcedefinition: spec: %w", err)
	}
	if status != "" {
		if err := json.Unmarshal([]byte(status), &c.Status); err != nil {
			return nil, fmt.Errorf("decode customresourcedefinition: status: %w", err)
		}
	}
	return c, nil
}

// Settled reports whether the status of a stored definition is what [UpdateStatus] would
// make it, as far as can be known without its schemas and other definitions: its names have
// been accepted as they are, and nothing was found wrong with it.
func Settled(c *apiextensionsv1.CustomResourceDefinition) bool {
	return c.DeletionTimestamp == nil && slices.Contains(c.Finalizers, Finalizer) &&
		equality.Semantic.DeepEqual(c.Spec.Names, c.Status.AcceptedNames) &&
		apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Established) &&
		apihelpers.IsCRDConditionTrue(c, apiextensionsv1.NamesAccepted) &&
		len(c.Status.Conditions) == 2 && !c.Spec.PreserveUnknownFields && !apihelpers.IsProtectedCommunityGroup(c.Spec.Group)
}

// FromSummary is [FromCRD] for a definition that was read by [Summary]. The schema of a
// version is read by schemaOf when it is needed; the registered type holds none.
func FromSummary(c *apiextensionsv1.CustomResourceDefinition, schemaOf func(version string) (*schema.Schema, error)) (*crd.Definition, error) {
	return fromCRD(c, func(in *apiextensionsv1.CustomResourceDefinitionVersion) (func() (*schema.Schema, error), error) {
		name := in.Name
		return func() (*schema.Schema, error) { return schemaOf(name) }, nil
	})
}

// VersionSchema reads the schema of one version out of a stored definition.
func VersionSchema(data []byte, version string) (*schema.Schema, error) {
	var raw string
	gjson.GetBytes(data, "spec.versions").ForEach(func(_, v gjson.Result) bool {
		if v.Get("name").Str == version {
			raw = v.Get("schema.openAPIV3Schema").Raw
			return false
		}
		return true
	})
	if raw == "" {
		return nil, fmt.Errorf("the definition has no schema of version %q any more", version)
	}
	var p apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		return nil, fmt.Errorf("parse the schema of version %q: %w", version, err)
	}
	return fromProps(&p), nil
}

// UID of a stored definition.
func UID(data []byte) string { return gjson.GetBytes(data, "metadata.uid").Str }
