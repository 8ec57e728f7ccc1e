package customresources

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GoType returns an empty value of the kinds that [Bundle] serves, for protobuf.
func GoType(gvk schema.GroupVersionKind) (runtime.Object, bool) {
	if gvk.GroupVersion() != apiextensionsv1.SchemeGroupVersion {
		return nil, false
	}
	switch gvk.Kind {
	case "CustomResourceDefinition":
		return &apiextensionsv1.CustomResourceDefinition{}, true
	case "CustomResourceDefinitionList":
		return &apiextensionsv1.CustomResourceDefinitionList{}, true
	}
	return nil, false
}
