package podspec

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields = []string{
		"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
	}
	// labelFields are all fields that a downward reference may name somewhere.
	labelFields = append([]string{
		"metadata.annotations", "metadata.labels", "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase",
	}, envFields...)
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
)

func (v *validator) env(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range list {
		variable := tree.Object(e)
		if name := tree.Str(variable, "name"); name == "" {
			errs = append(errs, field.Required(path.Index(i).Child("name"), ""))
		} else if messages := check.EnvName(name); messages != nil {
			errs = append(errs, check.Invalid(path.Index(i).Child("name"), name, messages)...)
		}
		if from, ok := variable["valueFrom"].(map[string]any); ok {
			errs = append(errs, v.envSource(from, tree.Str(variable, "value"), path.Index(i).Child("valueFrom"))...)
		}
	}
	return errs
}

func (v *validator) envSource(from map[string]any, value string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	sources := 0
	if r := tree.Map(from, "fieldRef"); r != nil {
		sources++
		errs = append(errs, fieldRef(r, path.Child("fieldRef"), envFields)...)
	}
	if r := tree.Map(from, "resourceFieldRef"); r != nil {
		sources++
		errs = append(errs, resourceFieldRef(r, path.Child("resourceFieldRef"), false)...)
	}
	for _, key := range [...]string{"configMapKeyRef", "secretKeyRef"} {
		if r := tree.Map(from, key); r != nil {
			sources++
			errs = append(errs, keyRef(r, path.Child(key))...)
		}
	}
	if r := tree.Map(from, "fileKeyRef"); r != nil {
		sources++
		errs = append(errs, v.fileKeyRef(r, path.Child("fileKeyRef"))...)
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func (v *validator) fileKeyRef(r map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if key := tree.Str(r, "key"); key == "" {
		errs = append(errs, field.Required(path.Child("key"), ""))
	} else {
		errs = append(errs, check.Invalid(path.Child("key"), key, validation.IsRelaxedEnvVarName(key))...)
	}
	errs = append(errs, check.Required(r, path, "volumeName")...)
	if file := tree.Str(r, "path"); file == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	} else {
		errs = append(errs, check.LocalPath(path.Child("path"), file)...)
	}
	return errs
}

func keyRef(r map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name := tree.Str(r, "name"); name != "" {
		errs = append(errs, check.Invalid(path.Child("name"), name, check.DNSSubdomain(name))...)
	}
	if key := tree.Str(r, "key"); key == "" {
		errs = append(errs, field.Required(path.Child("key"), ""))
	} else {
		errs = append(errs, check.Invalid(path.Child("key"), key, validation.IsConfigMapKey(key))...)
	}
	return errs
}

// fieldRef checks a reference to a field of the pod itself.
func fieldRef(r map[string]any, path *field.Path, allowed []string) field.ErrorList {
	if version := tree.Str(r, "apiVersion"); version != "" && version != "v1" {
		return field.ErrorList{field.Invalid(path.Child("fieldPath"), tree.Str(r, "fieldPath"),
			fmt.Sprintf("error converting fieldPath: unsupported pod version: %s", version))}
	}
	name := tree.Str(r, "fieldPath")
	if name == "" {
		return field.ErrorList{field.Required(path.Child("fieldPath"), "")}
	}
	base, key, subscripted := subscript(name)
	switch {
	case subscripted && base == "metadata.annotations":
		return check.Invalid(path, strings.ToLower(key), validation.IsQualifiedName(strings.ToLower(key)))
	case subscripted && base == "metadata.labels":
		return check.Invalid(path, key, validation.IsQualifiedName(key))
	case !slices.Contains(labelFields, name):
		return field.ErrorList{field.Invalid(path.Child("fieldPath"), name,
			fmt.Sprintf("error converting fieldPath: field label not supported: %s", name))}
	case !slices.Contains(allowed, name):
		return field.ErrorList{field.NotSupported(path.Child("fieldPath"), name, allowed)}
	}
	return nil
}

// subscript splits metadata.labels['key'].
func subscript(s string) (base, key string, ok bool) {
	if !strings.HasSuffix(s, "']") {
		return s, "", false
	}
	base, key, ok = strings.Cut(strings.TrimSuffix(s, "']"), "['")
	if !ok || base == "" {
		return s, "", false
	}
	return base, key, true
}

func resourceFieldRef(r map[string]any, path *field.Path, volume bool) field.ErrorList {
	var errs field.ErrorList
	name := tree.Str(r, "resource")
	switch {
	case volume && tree.Str(r, "containerName") == "":
		errs = append(errs, field.Required(path.Child("containerName"), ""))
	case name == "":
		errs = append(errs, field.Required(path.Child("resource"), ""))
	case !slices.Contains(resourceFields, name) &&
		!strings.HasPrefix(name, "limits.hugepages-") && !strings.HasPrefix(name, "requests.hugepages-"):
		errs = append(errs, field.NotSupported(path.Child("resource"), name, resourceFields))
	}
	return append(errs, divisor(name, tree.Str(r, "divisor"), path)...)
}

func divisor(name, value string, path *field.Path) field.ErrorList {
	const sizes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
	if value == "" || value == "0" {
		return nil
	}
	_, resource, _ := strings.Cut(name, ".")
	wrong := func(message string) field.ErrorList {
		return field.ErrorList{field.Invalid(path.Child("divisor"), name, message)}
	}
	var kind string
	switch {
	case resource == "cpu":
		if value != "1" && value != "1m" {
			return wrong("only divisor's values 1m and 1 are supported with the cpu resource")
		}
		return nil
	case resource == "memory":
		kind = "memory"
	case resource == "ephemeral-storage":
		kind = "local ephemeral storage"
	case strings.HasPrefix(resource, "hugepages-"):
		kind = "hugepages"
	default:
		return nil
	}
	if !slices.Contains(strings.Split(sizes, ", "), value) {
		return wrong("only divisor's values " + sizes + " are supported with the " + kind + " resource")
	}
	return nil
}

func validateEnvFrom(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range list {
		from, at := tree.Object(e), path.Index(i)
		if prefix := tree.Str(from, "prefix"); prefix != "" {
			errs = append(errs, check.Invalid(at.Child("prefix"), prefix, validation.IsRelaxedEnvVarName(prefix))...)
		}
		sources := 0
		for _, key := range [...]string{"configMapRef", "secretRef"} {
			r := tree.Map(from, key)
			if r == nil {
				continue
			}
			sources++
			if name := tree.Str(r, "name"); name == "" {
				errs = append(errs, field.Required(at.Child(key, "name"), ""))
			} else {
				errs = append(errs, check.Invalid(at.Child(key, "name"), name, check.DNSSubdomain(name))...)
			}
		}
		switch {
		case sources == 0:
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		case sources > 1:
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}
