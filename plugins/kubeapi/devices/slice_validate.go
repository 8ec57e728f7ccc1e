package devices

import (
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validateSlice(r *resource.Request, s, old *resourcev1.ResourceSlice) field.ErrorList {
	var errs field.ErrorList
	spec, path := &s.Spec, field.NewPath("spec")
	if old == nil {
		errs = check.Name(r.Object, check.DNSSubdomain)
	}
	errs = append(errs, check.DriverName(spec.Driver, path.Child("driver"))...)
	errs = append(errs, pool(&spec.Pool, path.Child("pool"))...)
	if old != nil {
		errs = append(errs, apivalidation.ValidateImmutableField(spec.Pool.Name, old.Spec.Pool.Name, path.Child("pool", "name"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(spec.Driver, old.Spec.Driver, path.Child("driver"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(spec.NodeName, old.Spec.NodeName, path.Child("nodeName"))...)
	}
	selected := tree.In(r.Object, "spec", "nodeSelector")
	place := placed{path: path, names: "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`"}
	place.nodeName(spec.NodeName, "must be either unset or set to a non-empty string")
	place.nodeSelector(selected)
	if spec.NodeSelector != nil && len(spec.NodeSelector.NodeSelectorTerms) != 1 {
		place.errs = append(place.errs, field.Invalid(path.Child("nodeSelector", "nodeSelectorTerms"), spec.NodeSelector.NodeSelectorTerms, "must have exactly one node selector term"))
	}
	place.flag("allNodes", spec.AllNodes)
	place.flag("perDeviceNodeSelection", spec.PerDeviceNodeSelection)
	errs = append(errs, place.verdict("exactly one of %s is required", "exactly one of %s is required, but multiple fields are set")...)
	if spec.SharedCounters != nil && spec.Devices != nil {
		errs = append(errs, field.Invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	trees := tree.List(tree.Map(r.Object, "spec"), "devices")
	perDevice := spec.PerDeviceNodeSelection != nil && *spec.PerDeviceNodeSelection
	devices := path.Child("devices")
	errs = append(errs, set(spec.Devices, mostDevices(spec), devices, func(d *resourcev1.Device) string { return d.Name },
		func(d *resourcev1.Device, path *field.Path) field.ErrorList {
			errs := device(d, path)
			if !perDevice {
				if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
					errs = append(errs, field.Invalid(path, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
				}
				return errs
			}
			place := placed{path: path, names: "`nodeName`, `nodeSelector`, or `allNodes`"}
			place.nodeName(d.NodeName, "must not be empty")
			for i := range spec.Devices {
				if &spec.Devices[i] == d {
					place.nodeSelector(tree.Map(tree.Object(trees[i]), "nodeSelector"))
				}
			}
			place.flag("allNodes", d.AllNodes)
			const must = "exactly one of %s is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
			return append(errs, place.verdict(must, must)...)
		})...)
	return append(errs, set(spec.SharedCounters, resourcev1.ResourceSliceMaxCounterSets, path.Child("sharedCounters"),
		func(c *resourcev1.CounterSet) string { return c.Name },
		func(c *resourcev1.CounterSet, path *field.Path) field.ErrorList {
			errs := required(c.Name, path.Child("name"), label)
			return append(errs, counters(c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet, path.Child("counters"))...)
		})...)
}

// placed collects in which of several ways it is said on which nodes devices are.
type placed struct {
	path  *field.Path
	names string // of the ways
	set   []string
	errs  field.ErrorList
}

func (p *placed) nodeName(name *string, empty string) {
	switch at := p.path.Child("nodeName"); {
	case name == nil:
	case *name == "":
		p.errs = append(p.errs, field.Invalid(at, "", empty))
	default:
		p.set = append(p.set, "`nodeName`")
		p.errs = append(p.errs, subdomain(*name, at)...)
	}
}

func (p *placed) nodeSelector(selector map[string]any) {
	if selector != nil {
		p.set = append(p.set, "`nodeSelector`")
		p.errs = append(p.errs, podspec.ValidateNodeSelector(selector, p.path.Child("nodeSelector"))...)
	}
}

func (p *placed) flag(name string, v *bool) {
	switch {
	case v == nil:
	case *v:
		p.set = append(p.set, "`"+name+"`")
	default:
		p.errs = append(p.errs, field.Invalid(p.path.Child(name), false, "must be either unset or set to true"))
	}
}

func (p *placed) verdict(none, many string) field.ErrorList {
	switch len(p.set) {
	case 0:
		return append(p.errs, field.Required(p.path, fmt.Sprintf(none, p.names)))
	case 1:
		return p.errs
	}
	return append(p.errs, field.Invalid(p.path, "{"+strings.Join(p.set, ", ")+"}", fmt.Sprintf(many, p.names)))
}

func pool(p *resourcev1.ResourcePool, path *field.Path) field.ErrorList {
	errs := poolName(p.Name, path.Child("name"))
	if p.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(path.Child("resourceSliceCount"), p.ResourceSliceCount, "must be greater than zero"))
	}
	if p.Generation < 0 {
		errs = append(errs, field.Invalid(path.Child("generation"), p.Generation, "must be greater than or equal to zero"))
	}
	return errs
}

// mostDevices is how many devices a slice may have: fewer where they are elaborate.
func mostDevices(s *resourcev1.ResourceSliceSpec) int {
	for i := range s.Devices {
		if len(s.Devices[i].Taints) > 0 || len(s.Devices[i].ConsumesCounters) > 0 {
			return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
	}
	return resourcev1.ResourceSliceMaxDevices
}
