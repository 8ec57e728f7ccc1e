package crdv1

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

//go:generate go run ./internal/gen

//go:embed schema.json.gz
var schemaText []byte

const rootComponent = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"

// Definition is the definition of customresourcedefinitions.apiextensions.k8s.io.
func Definition() *crd.Definition {
	return &crd.Definition{
		Group: apiextensionsv1.GroupName,
		Names: crd.Names{
			Plural: "customresourcedefinitions", Singular: "customresourcedefinition",
			Kind: "CustomResourceDefinition", ListKind: "CustomResourceDefinitionList",
			ShortNames: []string{"crd", "crds"},
			Categories: []string{"api-extensions"},
		},
		Scope:  crd.ClusterScoped,
		Source: crd.BuiltinSource,
		Versions: []crd.Version{{
			Name: "v1", Served: true, Storage: true, Status: true,
			Schema: func() (*schema.Schema, error) {
				c, err := components()
				if err != nil {
					return nil, err
				}
				return &schema.Schema{Ref: rootComponent, Root: c}, nil
			},
			Columns: []crd.Column{{
				Name: "Created At", Type: "string", JSONPath: ".metadata.creationTimestamp",
				Description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is represented in RFC3339 form and is in UTC.",
			}},
		}},
	}
}

// components are parsed once: compilers tell components apart by their identity.
var components = sync.OnceValues(func() (*schema.Components, error) {
	z, err := gzip.NewReader(bytes.NewReader(schemaText))
	if err != nil {
		return nil, fmt.Errorf("schema of CustomResourceDefinition: %w", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("schema of CustomResourceDefinition: %w", err)
	}
	var all map[string]*schema.Schema
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("schema of CustomResourceDefinition: %w", err)
	}
	for _, s := range all {
		withoutEnums(s)
	}
	return &schema.Components{Get: func(name string) *schema.Schema { return all[name] }}, nil
})

// withoutEnums drops the lists of values that the Go types document: upstream checks them
// where it validates a definition, with other paths.
func withoutEnums(s *schema.Schema) {
	if s == nil {
		return
	}
	s.Enum = nil
	for _, p := range s.Properties {
		withoutEnums(p)
	}
	withoutEnums(s.Items)
	withoutEnums(s.AdditionalProperties)
}
