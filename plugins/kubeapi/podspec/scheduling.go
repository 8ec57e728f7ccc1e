package podspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// ValidateTolerations checks tolerations.
func ValidateTolerations(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range list {
		errs = append(errs, toleration(tree.Object(e), path, i)...)
	}
	return errs
}

func toleration(t map[string]any, path *field.Path, i int) field.ErrorList {
	var errs field.ErrorList
	key, operator, value := tree.Str(t, "key"), tree.Str(t, "operator"), tree.Str(t, "value")
	if key != "" && key != "node.kubernetes.io/not-ready" && key != "node.kubernetes.io/unreachable" {
		errs = append(errs, metav1validation.ValidateLabelName(key, path.Index(i).Child("key"))...)
	}
	if key == "" && operator != "Exists" {
		errs = append(errs, field.Invalid(path.Index(i).Child("operator"), operator,
			`operator must be Exists when `+"`key`"+` is empty, which means "match all values and all keys"`))
	}
	effect := tree.Str(t, "effect")
	if _, ok := tree.Int(t, "tolerationSeconds"); ok && effect != "NoExecute" {
		errs = append(errs, field.Invalid(path.Index(i).Child("effect"), effect,
			"effect must be 'NoExecute' when `tolerationSeconds` is set"))
	}
	switch operator {
	case "", "Equal":
		if value != "" {
			if messages := validation.IsValidLabelValue(value); len(messages) > 0 {
				errs = append(errs, field.Invalid(path.Index(i).Child("operator"), value, strings.Join(messages, ";")))
			}
		}
	case "Exists":
		if value != "" {
			errs = append(errs, field.Invalid(path.Index(i).Child("operator"), value, "value must be empty when `operator` is 'Exists'"))
		}
	case "Lt", "Gt":
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("value"), value, err.Error()))
		}
	}
	return errs
}

func validateAffinity(a map[string]any, path *field.Path) field.ErrorList {
	if len(a) == 0 {
		return nil
	}
	var errs field.ErrorList
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	if n := tree.Map(a, "nodeAffinity"); n != nil {
		at := path.Child("nodeAffinity")
		if s := tree.Map(n, required); s != nil {
			errs = append(errs, ValidateNodeSelector(s, at.Child(required))...)
		}
		for i, e := range tree.List(n, preferred) {
			t, at := tree.Object(e), at.Child(preferred).Index(i)
			errs = append(errs, weight(t, at)...)
			errs = append(errs, nodeTerm(tree.Map(t, "preference"), at.Child("preference"))...)
		}
	}
	for _, key := range [...]string{"podAffinity", "podAntiAffinity"} {
		p := tree.Map(a, key)
		if p == nil {
			continue
		}
		at := path.Child(key)
		for i, e := range tree.List(p, required) {
			errs = append(errs, podTerm(tree.Object(e), at.Child(required).Index(i))...)
		}
		for i, e := range tree.List(p, preferred) {
			t, at := tree.Object(e), at.Child(preferred).Index(i)
			errs = append(errs, weight(t, at)...)
			errs = append(errs, podTerm(tree.Map(t, "podAffinityTerm"), at.Child("podAffinityTerm"))...)
		}
	}
	return errs
}

func weight(t map[string]any, at *field.Path) field.ErrorList {
	if w := tree.Int0(t, "weight"); w < 1 || w > 100 {
		return field.ErrorList{field.Invalid(at.Child("weight"), w, "must be in the range 1-100")}
	}
	return nil
}

func podTerm(t map[string]any, at *field.Path) field.ErrorList {
	errs := check.Selector(tree.Map(t, "labelSelector"), at.Child("labelSelector"))
	errs = append(errs, check.Selector(tree.Map(t, "namespaceSelector"), at.Child("namespaceSelector"))...)
	for _, n := range tree.Strings(t, "namespaces") {
		errs = append(errs, check.Invalid(at.Child("namespace"), n, check.DNSLabel(n))...)
	}
	for _, key := range [...]string{"matchLabelKeys", "mismatchLabelKeys"} {
		errs = append(errs, labelKeys(t, at, key)...)
	}
	topology := tree.Str(t, "topologyKey")
	if topology == "" {
		errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metav1validation.ValidateLabelName(topology, at.Child("topologyKey"))...)
}

func labelKeys(t map[string]any, at *field.Path, key string) field.ErrorList {
	keys := tree.Strings(t, key)
	if len(keys) == 0 {
		return nil
	}
	if tree.Map(t, "labelSelector") == nil {
		return field.ErrorList{field.Forbidden(at.Child(key), "must not be specified when labelSelector is not set")}
	}
	var errs field.ErrorList
	for i, k := range keys {
		errs = append(errs, metav1validation.ValidateLabelName(k, at.Child(key).Index(i))...)
	}
	return errs
}

// ValidateNodeSelector checks a NodeSelector object.
func ValidateNodeSelector(s map[string]any, path *field.Path) field.ErrorList {
	terms := tree.List(s, "nodeSelectorTerms")
	if len(terms) == 0 {
		return field.ErrorList{field.Required(path.Child("nodeSelectorTerms"), "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i, t := range terms {
		errs = append(errs, nodeTerm(tree.Object(t), path.Child("nodeSelectorTerms").Index(i))...)
	}
	return errs
}

func nodeTerm(t map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range tree.List(t, "matchExpressions") {
		errs = append(errs, nodeExpression(tree.Object(e), at.Child("matchExpressions").Index(i))...)
	}
	for i, e := range tree.List(t, "matchFields") {
		errs = append(errs, nodeField(tree.Object(e), at.Child("matchFields").Index(i))...)
	}
	return errs
}

func nodeExpression(r map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	values := tree.Strings(r, "values")
	switch operator := tree.Str(r, "operator"); operator {
	case "In", "NotIn":
		if len(values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case "Exists", "DoesNotExist":
		if len(values) > 0 {
			errs = append(errs, field.Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case "Gt", "Lt":
		if len(values) != 1 {
			errs = append(errs, field.Required(at.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	case "":
		errs = append(errs, field.Invalid(at.Child("operator"), operator, "not a valid selector operator"))
	}
	errs = append(errs, metav1validation.ValidateLabelName(tree.Str(r, "key"), at.Child("key"))...)
	for i, value := range values {
		errs = append(errs, check.Invalid(at.Child("values").Index(i), value, validation.IsValidLabelValue(value))...)
	}
	return errs
}

func nodeField(r map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	values, key := tree.Strings(r, "values"), tree.Str(r, "key")
	switch operator := tree.Str(r, "operator"); operator {
	case "In", "NotIn":
		if len(values) != 1 {
			errs = append(errs, field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(at.Child("operator"), operator, "not a valid selector operator"))
	}
	if key != "metadata.name" {
		return append(errs, field.Invalid(at.Child("key"), key, "not a valid field selector key"))
	}
	for i, value := range values {
		errs = append(errs, check.Invalid(at.Child("values").Index(i), value, check.DNSSubdomain(value))...)
	}
	return errs
}

func validateSpread(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	kind := func(c map[string]any) string {
		return fmt.Sprintf("{%s, %s}", tree.Str(c, "topologyKey"), tree.Str(c, "whenUnsatisfiable"))
	}
	for i, e := range list {
		c, at := tree.Object(e), path.Index(i)
		if skew := tree.Int0(c, "maxSkew"); skew <= 0 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), skew, "must be greater than zero"))
		}
		topology, when := tree.Str(c, "topologyKey"), tree.Str(c, "whenUnsatisfiable")
		if topology == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		}
		if slices.ContainsFunc(list[i+1:], func(o any) bool { return kind(tree.Object(o)) == kind(c) }) {
			errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), kind(c)))
		}
		if n, ok := tree.Int(c, "minDomains"); ok {
			if n <= 0 {
				errs = append(errs, field.Invalid(at.Child("minDomains"), n, "must be greater than zero"))
			}
			if when != "DoNotSchedule" {
				errs = append(errs, field.Invalid(at.Child("minDomains"), n,
					fmt.Sprintf("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s", when)))
			}
		}
		errs = append(errs, labelKeys(c, at, "matchLabelKeys")...)
		errs = append(errs, check.Selector(tree.Map(c, "labelSelector"), at.Child("labelSelector"))...)
	}
	return errs
}
