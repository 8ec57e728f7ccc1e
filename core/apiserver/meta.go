package apiserver

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

var metaPath = field.NewPath("metadata")

// validateMeta checks metadata as upstream does for every kind. On updates only what
// changed is checked, which is all that can be wrong.
func validateMeta(k *kind, obj, old map[string]any) field.ErrorList {
	meta, before := jsontree.Map(obj, "metadata"), jsontree.Map(old, "metadata")
	var errs field.ErrorList
	if old == nil {
		errs = validateName(k, meta)
	}
	changed := func(f string) (any, bool) {
		v, ok := meta[f]
		return v, ok && v != nil && (before == nil || !jsontree.Equal(v, before[f]))
	}
	if v, ok := changed("labels"); ok {
		if m, ok := stringMap(v); ok {
			errs = append(errs, metav1validation.ValidateLabels(m, metaPath.Child("labels"))...)
		}
	}
	if v, ok := changed("annotations"); ok {
		if m, ok := stringMap(v); ok {
			errs = append(errs, apivalidation.ValidateAnnotations(m, metaPath.Child("annotations"))...)
		}
	}
	if v, ok := changed("ownerReferences"); ok {
		errs = append(errs, apivalidation.ValidateOwnerReferences(ownerReferences(v), metaPath.Child("ownerReferences"))...)
	}
	if v, ok := changed("finalizers"); ok {
		list := stringList(v)
		errs = append(errs, apivalidation.ValidateFinalizers(list, metaPath.Child("finalizers"))...)
		if k.builtin {
			errs = append(errs, plainFinalizers(list)...)
		}
		if before["deletionTimestamp"] != nil {
			errs = append(errs, apivalidation.ValidateNoNewFinalizers(list, stringList(before["finalizers"]), metaPath.Child("finalizers"))...)
		}
	}
	return errs
}

// plainFinalizers finds those without a domain that are none of Kubernetes' own. Custom
// resources may have them.
func plainFinalizers(list []string) field.ErrorList {
	var errs field.ErrorList
	for i, f := range list {
		switch f {
		case "kubernetes", metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
			continue
		}
		if !strings.Contains(f, "/") {
			errs = append(errs, field.Invalid(metaPath.Child("finalizers").Index(i), f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// pathSegmentName returns what is wrong with a name, or the beginning of one, that shall be
// part of a path.
func pathSegmentName(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

func validateName(k *kind, meta map[string]any) field.ErrorList {
	var errs field.ErrorList
	name, _ := meta["name"].(string)
	base, _ := meta["generateName"].(string)
	check := apivalidation.ValidateNameFunc(pathSegmentName)
	if !k.builtin {
		check = apivalidation.NameIsDNSSubdomain
	}
	if base != "" {
		for _, msg := range check(base, true) {
			errs = append(errs, field.Invalid(metaPath.Child("generateName"), base, msg))
		}
	}
	if name == "" {
		return append(errs, field.Required(metaPath.Child("name"), "name or generateName is required"))
	}
	for _, msg := range check(name, false) {
		errs = append(errs, field.Invalid(metaPath.Child("name"), name, msg))
	}
	if ns, _ := meta["namespace"].(string); k.namespaced {
		if ns == "" {
			return append(errs, field.Required(metaPath.Child("namespace"), ""))
		}
		for _, msg := range apivalidation.ValidateNamespaceName(ns, false) {
			errs = append(errs, field.Invalid(metaPath.Child("namespace"), ns, msg))
		}
	}
	return errs
}

// stringMap converts a tree; values of other types are left to the schema to report.
func stringMap(v any) (map[string]string, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		out[k] = s
	}
	return out, true
}

func stringList(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func ownerReferences(v any) []metav1.OwnerReference {
	list, _ := v.([]any)
	refs := make([]metav1.OwnerReference, 0, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			continue
		}
		var ref metav1.OwnerReference
		if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &ref) == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

func uidOf(tree map[string]any) types.UID {
	return types.UID(jsontree.String(tree, "metadata", "uid"))
}
