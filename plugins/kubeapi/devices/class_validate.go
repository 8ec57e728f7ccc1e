package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/dynamic-resource-allocation/cel"

	celenv "github.com/pintle-dev/pintle/crd/cel"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validateClass(r *resource.Request, c, _ *resourcev1.DeviceClass) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("spec")
	errs = append(errs, each(c.Spec.Selectors, resourcev1.DeviceSelectorsMaxSize, path.Child("selectors"), selector)...)
	errs = append(errs, each(c.Spec.Config, resourcev1.DeviceConfigMaxSize, path.Child("config"),
		func(c *resourcev1.DeviceClassConfiguration, path *field.Path) field.ErrorList {
			return configuration(&c.DeviceConfiguration, path)
		})...)
	if name := c.Spec.ExtendedResourceName; name != nil && !extended(*name) {
		errs = append(errs, field.Invalid(path.Child("extendedResourceName"), *name, "must be a valid extended resource name"))
	}
	return errs
}

// extended reports whether a name may be that of a resource that Kubernetes does not know.
func extended(name string) bool {
	native := !strings.Contains(name, "/") || strings.Contains(name, "kubernetes.io/")
	return !native && !strings.HasPrefix(name, "requests.") && len(validation.IsQualifiedName("requests."+name)) == 0
}

// selector checks a selector by compiling it.
func selector(s *resourcev1.DeviceSelector, path *field.Path) field.ErrorList {
	if s.CEL == nil {
		return field.ErrorList{field.Required(path.Child("cel"), "")}
	}
	expression, at := s.CEL.Expression, path.Child("cel", "expression")
	if len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(at, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	if _, err := celenv.Base(); err != nil {
		return field.ErrorList{field.InternalError(at, err)}
	}
	fresh := environment.NewExpressions
	result := cel.GetCompiler(cel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expression, cel.Options{EnvType: &fresh})
	var wrong *apiservercel.Error
	switch {
	case result.Error == nil && result.MaxCost > resourcev1.CELSelectorExpressionMaxCost:
		return field.ErrorList{field.Forbidden(at, "too complex, exceeds cost limit")}
	case result.Error == nil:
		return nil
	case !errors.As(error(result.Error), &wrong):
		return field.ErrorList{field.InternalError(at, result.Error)}
	case wrong.Type == apiservercel.ErrorTypeRequired:
		return field.ErrorList{field.Required(at, wrong.Detail)}
	case wrong.Type == apiservercel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(at, expression, wrong.Detail)}
	}
	return field.ErrorList{field.InternalError(at, wrong)}
}

func configuration(c *resourcev1.DeviceConfiguration, path *field.Path) field.ErrorList {
	at := path.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := check.DriverName(c.Opaque.Driver, at.Child("driver"))
	return append(errs, rawObject(c.Opaque.Parameters.Raw, resourcev1.OpaqueParametersMaxLength, at.Child("parameters"))...)
}

// rawObject checks JSON that only a driver understands: an object of some size.
func rawObject(raw []byte, most int, path *field.Path) field.ErrorList {
	const omitted = "<value omitted>"
	if len(raw) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(raw) > most {
		return field.ErrorList{field.TooLong(path, "", most)}
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return field.ErrorList{field.Invalid(path, omitted, fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	switch v.(type) {
	case nil:
		return field.ErrorList{field.Required(path, "")}
	case map[string]any:
		return nil
	}
	return field.ErrorList{field.Invalid(path, omitted, "must be a valid JSON object")}
}

// templateMeta checks the metadata that claims made of a template get.
func templateMeta(t *resourcev1.ResourceClaimTemplateSpec, path *field.Path) field.ErrorList {
	errs := apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))
	return append(errs, metav1validation.ValidateLabels(t.Labels, path.Child("labels"))...)
}
