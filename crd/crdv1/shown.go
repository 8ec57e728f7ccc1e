package crdv1

import (
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Where upstream's messages quote a value that is not a scalar, they show its internal form.

func shownRule(r apiextensionsv1.ValidationRule) any {
	var out apiextensions.ValidationRule
	if err := apiextensionsv1.Convert_v1_ValidationRule_To_apiextensions_ValidationRule(&r, &out, nil); err != nil {
		return r
	}
	return out
}

func shownVersions(spec *apiextensionsv1.CustomResourceDefinitionSpec) any {
	var out apiextensions.CustomResourceDefinitionSpec
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinitionSpec_To_apiextensions_CustomResourceDefinitionSpec(spec.DeepCopy(), &out, nil); err != nil {
		return spec.Versions
	}
	return out.Versions
}

func shownSchema(s *props) any {
	var out apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s, &out, nil); err != nil {
		return *s
	}
	return out
}
