package review

import (
	"fmt"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	authorization  = "authorization.k8s.io"
	authentication = "authentication.k8s.io"
)

// types of the bundle.
var types = []struct {
	group, kind, plural string
	scope               crd.Scope
	answer              func(*Config) resource.Virtual
}{
	{authorization, "SubjectAccessReview", "subjectaccessreviews", crd.ClusterScoped, func(c *Config) resource.Virtual { return subjectAccess{c} }},
	{authorization, "LocalSubjectAccessReview", "localsubjectaccessreviews", crd.NamespaceScoped, func(c *Config) resource.Virtual { return localSubjectAccess{c} }},
	{authorization, "SelfSubjectAccessReview", "selfsubjectaccessreviews", crd.ClusterScoped, func(c *Config) resource.Virtual { return selfSubjectAccess{c} }},
	{authorization, "SelfSubjectRulesReview", "selfsubjectrulesreviews", crd.ClusterScoped, func(c *Config) resource.Virtual { return selfSubjectRules{c} }},
	{authentication, "TokenReview", "tokenreviews", crd.ClusterScoped, func(c *Config) resource.Virtual { return tokenReview{c} }},
	{authentication, "SelfSubjectReview", "selfsubjectreviews", crd.ClusterScoped, func(c *Config) resource.Virtual { return selfSubject{c} }},
}

type bundle struct{ cfg *Config }

var _ resource.Bundle = bundle{}

// Definitions implements resource.Bundle.
func (b bundle) Definitions() ([]*crd.Definition, error) {
	out := make([]*crd.Definition, 0, len(types))
	for _, t := range types {
		gvk := runtimeschema.GroupVersionKind{Group: t.group, Version: "v1", Kind: t.kind}
		out = append(out, &crd.Definition{
			Group: t.group, Scope: t.scope, Virtual: true, Source: "builtin",
			Names: crd.Names{Plural: t.plural, Singular: singular(t.kind), Kind: t.kind, ListKind: t.kind + "List"},
			Versions: []crd.Version{{
				Name: "v1", Served: true, Storage: true, Verbs: []string{"create"},
				Schema: func() (*schema.Schema, error) { return b.schema(gvk) },
			}},
			PreserveUnknownFields: b.cfg.Schemas == nil,
		})
	}
	return out, nil
}

func (b bundle) schema(gvk runtimeschema.GroupVersionKind) (*schema.Schema, error) {
	if b.cfg.Schemas == nil {
		return &schema.Schema{Type: "object", PreserveUnknownFields: true}, nil
	}
	s, err := b.cfg.Schemas(gvk)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", gvk.Kind, err)
	}
	return s, nil
}

// Hooks implements resource.Bundle.
func (b bundle) Hooks(gr runtimeschema.GroupResource) any {
	for _, t := range types {
		if t.group == gr.Group && t.plural == gr.Resource {
			return t.answer(b.cfg)
		}
	}
	return nil
}
