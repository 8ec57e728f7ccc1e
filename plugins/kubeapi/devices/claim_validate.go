package devices

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validateClaim(r *resource.Request, c, old *resourcev1.ResourceClaim) field.ErrorList {
	path := field.NewPath("spec")
	switch {
	case old == nil:
		errs := check.Name(r.Object, check.DNSSubdomain)
		return append(errs, claimSpec(&c.Spec, path)...)
	case r.Subresource == "status":
		return claimStatus(c, old, field.NewPath("status"))
	default:
		return apivalidation.ValidateImmutableField(c.Spec, old.Spec, path)
	}
}

func validateTemplate(r *resource.Request, t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
	path := field.NewPath("spec")
	if old != nil {
		return apivalidation.ValidateImmutableField(t.Spec, old.Spec, path)
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	errs = append(errs, templateMeta(&t.Spec, path.Child("metadata"))...)
	return append(errs, claimSpec(&t.Spec.Spec, path.Child("spec"))...)
}

// requestNames are the names of a claim's requests, each with those of its alternatives.
type requestNames map[string]sets.Set[string]

func namesOf(d *resourcev1.DeviceClaim) requestNames {
	names := requestNames{}
	for i := range d.Requests {
		r := &d.Requests[i]
		names[r.Name] = nil
		for j := range r.FirstAvailable {
			if names[r.Name] == nil {
				names[r.Name] = sets.New[string]()
			}
			names[r.Name].Insert(r.FirstAvailable[j].Name)
		}
	}
	return names
}

// reference checks a name of a request, or of a request and one of its alternatives.
func (n requestNames) reference(name *string, path *field.Path) field.ErrorList {
	const wrong = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
	parts := strings.Split(*name, "/")
	if len(parts) > 2 {
		return field.ErrorList{field.Invalid(path, *name, wrong)}
	}
	var errs field.ErrorList
	for _, p := range parts {
		errs = append(errs, label(p, path)...)
	}
	alternatives, ok := n[parts[0]]
	if !ok || len(parts) == 2 && !alternatives.Has(parts[1]) {
		errs = append(errs, field.Invalid(path, *name, wrong))
	}
	return errs
}

func claimSpec(s *resourcev1.ResourceClaimSpec, path *field.Path) field.ErrorList {
	d, at := &s.Devices, path.Child("devices")
	names := namesOf(d)
	errs := set(d.Requests, resourcev1.DeviceRequestsMaxSize, at.Child("requests"),
		func(r *resourcev1.DeviceRequest) string { return r.Name }, request)
	errs = append(errs, each(d.Constraints, resourcev1.DeviceConstraintsMaxSize, at.Child("constraints"),
		func(c *resourcev1.DeviceConstraint, path *field.Path) field.ErrorList {
			errs := set(c.Requests, resourcev1.DeviceRequestsMaxSize, path.Child("requests"), itself, names.reference)
			switch {
			case c.MatchAttribute != nil:
				return append(errs, fullyQualified(string(*c.MatchAttribute), path.Child("matchAttribute"))...)
			case c.DistinctAttribute != nil:
				return append(errs, fullyQualified(string(*c.DistinctAttribute), path.Child("distinctAttribute"))...)
			}
			return append(errs, field.Required(path, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
		})...)
	return append(errs, each(d.Config, resourcev1.DeviceConfigMaxSize, at.Child("config"),
		func(c *resourcev1.DeviceClaimConfiguration, path *field.Path) field.ErrorList {
			errs := set(c.Requests, resourcev1.DeviceRequestsMaxSize, path.Child("requests"), itself, names.reference)
			return append(errs, configuration(&c.DeviceConfiguration, path)...)
		})...)
}

func request(r *resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
	errs := label(r.Name, path.Child("name"))
	switch e := r.Exactly; {
	case e == nil && len(r.FirstAvailable) == 0:
		return append(errs, field.Required(path, "exactly one of `exactly` or `firstAvailable` is required"))
	case e != nil && len(r.FirstAvailable) > 0:
		return append(errs, field.Invalid(path, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case e != nil:
		return append(errs, wanted(e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, e.Tolerations, path.Child("exactly"))...)
	}
	return append(errs, set(r.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize, path.Child("firstAvailable"),
		func(s *resourcev1.DeviceSubRequest) string { return s.Name },
		func(s *resourcev1.DeviceSubRequest, path *field.Path) field.ErrorList {
			errs := label(s.Name, path.Child("name"))
			return append(errs, wanted(s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count, s.Tolerations, path)...)
		})...)
}

// wanted checks what a request and an alternative of one have in common.
func wanted(class string, selectors []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64,
	tolerations []resourcev1.DeviceToleration, path *field.Path,
) field.ErrorList {
	errs := required(class, path.Child("deviceClassName"), subdomain)
	errs = append(errs, each(selectors, resourcev1.DeviceSelectorsMaxSize, path.Child("selectors"), selector)...)
	switch mode {
	case resourcev1.DeviceAllocationModeAll:
		if count != 0 {
			errs = append(errs, field.Invalid(path.Child("count"), count, "must not be specified when allocationMode is 'All'"))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if count <= 0 {
			errs = append(errs, field.Invalid(path.Child("count"), count, "must be greater than zero"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("allocationMode"), mode, []string{"All", "ExactCount"}))
	}
	return append(errs, each(tolerations, resourcev1.DeviceTolerationsMaxLength, path.Child("tolerations"), toleration)...)
}
