package crdv1

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Warnings returns what the client should be told about a definition that is accepted:
// formats that nothing checks. old is nil on create; what it has already is not told again.
func Warnings(c, old *apiextensionsv1.CustomResourceDefinition) []string {
	var known []string
	if old != nil {
		known = unrecognizedFormats(old)
	}
	var out []string
	for _, f := range unrecognizedFormats(c) {
		if !slices.Contains(known, f) {
			out = append(out, fmt.Sprintf("unrecognized format %q", f))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func unrecognizedFormats(c *apiextensionsv1.CustomResourceDefinition) (formats []string) {
	var visit func(s *props)
	visit = func(s *props) {
		if s == nil {
			return
		}
		if s.Format != "" {
			one := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Type: spec.StringOrArray{s.Type}}}
			formats = append(formats, validation.GetUnrecognizedFormats(one, environment.DefaultCompatibilityVersion())...)
		}
		for _, p := range s.Properties {
			visit(&p)
		}
		if s.AdditionalProperties != nil {
			visit(s.AdditionalProperties.Schema)
		}
		if s.Items != nil {
			visit(s.Items.Schema)
		}
		visit(s.Not)
		for _, list := range [][]props{s.AllOf, s.AnyOf, s.OneOf} {
			for i := range list {
				visit(&list[i])
			}
		}
	}
	for _, v := range c.Spec.Versions {
		if v.Schema != nil {
			visit(v.Schema.OpenAPIV3Schema)
		}
	}
	return formats
}
