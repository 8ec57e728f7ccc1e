package others

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	sdkresource "github.com/pintle-dev/pintle/sdk/resource"
)

// The longest times of scaling rules, in seconds.
const (
	longestWindow = 3600
	longestPeriod = 1800
)

func validateAutoscaler(r *sdkresource.Request, a, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	if r.Subresource == "status" {
		path := field.NewPath("status")
		errs := nonNegative(int64(a.Status.CurrentReplicas), path.Child("currentReplicas"))
		return append(errs, nonNegative(int64(a.Status.DesiredReplicas), path.Child("desiredReplicas"))...)
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	s, path := &a.Spec, field.NewPath("spec")
	least := int32(1)
	if old != nil && old.Spec.MinReplicas != nil && *old.Spec.MinReplicas == 0 {
		least = 0
	}
	at := path.Child("maxReplicas")
	if n := s.MinReplicas; n != nil && *n < least {
		errs = append(errs, field.Invalid(path.Child("minReplicas"), *n, fmt.Sprintf("must be greater than or equal to %d", least)))
	}
	switch n := s.MaxReplicas; {
	case n == 0:
		errs = append(errs, field.Required(at, "must be set and greater than 0"))
	case n < 0:
		errs = append(errs, field.Invalid(at, n, "must be greater than or equal to 1"))
	}
	if n := s.MinReplicas; n != nil && s.MaxReplicas < *n {
		errs = append(errs, field.Invalid(at, s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	target := &s.ScaleTargetRef
	kept := old != nil && old.Spec.ScaleTargetRef.APIVersion == target.APIVersion && old.Spec.ScaleTargetRef.Kind == target.Kind
	errs = append(errs, reference(target, path.Child("scaleTargetRef"), kept, target.Kind == "ReplicationController")...)
	errs = append(errs, metricSpecs(s, old, path.Child("metrics"))...)
	if b := s.Behavior; b != nil {
		errs = append(errs, scalingRules(b.ScaleUp, path.Child("behavior", "scaleUp"))...)
		errs = append(errs, scalingRules(b.ScaleDown, path.Child("behavior", "scaleDown"))...)
	}
	return errs
}

func nonNegative(n int64, path *field.Path) field.ErrorList {
	if n < 0 {
		return field.ErrorList{field.Invalid(path, n, check.NotNegative)}
	}
	return nil
}

// reference checks what an autoscaler points to. Its apiVersion is not looked at where it
// is what it was.
func reference(ref *autoscalingv2.CrossVersionObjectReference, path *field.Path, kept, mayBeCore bool) field.ErrorList {
	var errs field.ErrorList
	for _, f := range [...][2]string{{"kind", ref.Kind}, {"name", ref.Name}} {
		if at := path.Child(f[0]); f[1] == "" {
			errs = append(errs, field.Required(at, ""))
		} else {
			errs = append(errs, check.Invalid(at, f[1], check.PathSegment(f[1]))...)
		}
	}
	if wrong := badVersion(ref.APIVersion, mayBeCore); wrong != "" && !kept {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), ref.APIVersion, wrong))
	}
	return errs
}

func badVersion(version string, mayBeCore bool) string {
	gv, err := runtimeschema.ParseGroupVersion(version)
	if err != nil {
		return err.Error()
	}
	if gv.Group == "" && !mayBeCore {
		return "apiVersion must specify API group"
	}
	return ""
}

func metricSpecs(s *autoscalingv2.HorizontalPodAutoscalerSpec, old *autoscalingv2.HorizontalPodAutoscaler, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	wasWrong := false
	if old != nil {
		for i := range old.Spec.Metrics {
			o := old.Spec.Metrics[i].Object
			wasWrong = wasWrong || o != nil && badVersion(o.DescribedObject.APIVersion, true) != ""
		}
	}
	fromZero := false
	for i := range s.Metrics {
		m := &s.Metrics[i]
		errs = append(errs, metricSpec(m, path.Index(i), wasWrong)...)
		fromZero = fromZero || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	}
	if n := s.MinReplicas; n != nil && *n == 0 && !fromZero {
		errs = append(errs, field.Forbidden(path, "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	return errs
}

// metricSpec checks that a metric has the one source that its type says.
func metricSpec(m *autoscalingv2.MetricSpec, path *field.Path, wasWrong bool) field.ErrorList {
	var errs field.ErrorList
	known := false
	var there, others []string
	for _, source := range [...]struct {
		typ   autoscalingv2.MetricSourceType
		key   string
		set   bool
		valid func(*field.Path) field.ErrorList
	}{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(at *field.Path) field.ErrorList {
			errs := reference(&m.Object.DescribedObject, at.Child("describedObject"), wasWrong, true)
			errs = append(errs, identifier(&m.Object.Metric, at.Child("metric"))...)
			return append(errs, totalTarget(&m.Object.Target, at.Child("target"), "must set either a target value or averageValue", false)...)
		}},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(at *field.Path) field.ErrorList {
			errs := identifier(&m.External.Metric, at.Child("metric"))
			return append(errs, totalTarget(&m.External.Target, at.Child("target"), "must set either a target value for metric or a per-pod target", true)...)
		}},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(at *field.Path) field.ErrorList {
			errs := append(identifier(&m.Pods.Metric, at.Child("metric")), metricTarget(&m.Pods.Target, at.Child("target"))...)
			if m.Pods.Target.AverageValue == nil {
				errs = append(errs, field.Required(at.Child("target", "averageValue"), "must specify a positive target averageValue"))
			}
			return errs
		}},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(at *field.Path) field.ErrorList {
			return resourceTarget(string(m.Resource.Name), &m.Resource.Target, at)
		}},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(at *field.Path) field.ErrorList {
			errs := resourceTarget(string(m.ContainerResource.Name), &m.ContainerResource.Target, at)
			if c := m.ContainerResource.Container; c == "" {
				errs = append(errs, field.Required(at.Child("container"), "must specify a container"))
			} else {
				errs = append(errs, check.Invalid(at.Child("container"), c, check.DNSLabel(c))...)
			}
			return errs
		}},
	} {
		at := path.Child(source.key)
		if source.set {
			if there = append(there, source.key); len(there) == 1 {
				errs = append(errs, source.valid(at)...)
			}
			if source.typ != m.Type {
				others = append(others, source.key)
			}
		} else if source.typ == m.Type {
			errs = append(errs, field.Required(at, "must populate information for the given metric source"))
		}
		known = known || source.typ == m.Type
	}
	if m.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric source type"))
	}
	if !known {
		errs = append(errs, field.NotSupported(path.Child("type"), m.Type, []string{"ContainerResource", "External", "Object", "Pods", "Resource"}))
	}
	if len(there) != 1 {
		for _, key := range others {
			errs = append(errs, field.Forbidden(path.Child(key), "must populate the given metric source only"))
		}
	}
	return errs
}

func identifier(m *autoscalingv2.MetricIdentifier, path *field.Path) field.ErrorList {
	if m.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "must specify a metric name")}
	}
	return check.Invalid(path.Child("name"), m.Name, check.PathSegment(m.Name))
}

func totalTarget(t *autoscalingv2.MetricTarget, path *field.Path, missing string, onlyOne bool) field.ErrorList {
	errs := metricTarget(t, path)
	switch {
	case t.Value == nil && t.AverageValue == nil:
		errs = append(errs, field.Required(path.Child("averageValue"), missing))
	case onlyOne && t.Value != nil && t.AverageValue != nil:
		errs = append(errs, field.Forbidden(path.Child("value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func resourceTarget(name string, t *autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(path.Child("name"), "must specify a resource name"))
	}
	at := path.Child("target")
	errs = append(errs, metricTarget(t, at)...)
	switch {
	case t.AverageUtilization == nil && t.AverageValue == nil:
		errs = append(errs, field.Required(at.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	case t.AverageUtilization != nil && t.AverageValue != nil:
		errs = append(errs, field.Forbidden(at.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func metricTarget(t *autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric target type"))
		fallthrough
	default:
		errs = append(errs, field.Invalid(path.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	for _, f := range [...]struct {
		key string
		q   *resource.Quantity
	}{{"value", t.Value}, {"averageValue", t.AverageValue}} {
		if f.q != nil && f.q.Sign() != 1 {
			errs = append(errs, field.Invalid(path.Child(f.key), f.q.String(), "must be positive"))
		}
	}
	if n := t.AverageUtilization; n != nil && *n < 1 {
		errs = append(errs, field.Invalid(path.Child("averageUtilization"), *n, "must be greater than 0"))
	}
	return errs
}

func scalingRules(r *autoscalingv2.HPAScalingRules, path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	at := path.Child("stabilizationWindowSeconds")
	switch n := r.StabilizationWindowSeconds; {
	case n == nil:
	case *n < 0:
		errs = append(errs, field.Invalid(at, *n, "must be greater than or equal to zero"))
	case *n > longestWindow:
		errs = append(errs, field.Invalid(at, *n, fmt.Sprintf("must be less than or equal to %d", longestWindow)))
	}
	if p := r.SelectPolicy; p != nil {
		switch *p {
		case autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect:
		default:
			errs = append(errs, field.NotSupported(path.Child("selectPolicy"), *p, []string{"Disabled", "Max", "Min"}))
		}
	}
	policies := path.Child("policies")
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(policies, "must specify at least one Policy"))
	}
	for i := range r.Policies {
		errs = append(errs, scalingPolicy(&r.Policies[i], policies.Index(i))...)
	}
	if t := r.Tolerance; t != nil && t.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("tolerance"), t.String(), check.NotNegative))
	}
	return errs
}

func scalingPolicy(p *autoscalingv2.HPAScalingPolicy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Type != autoscalingv2.PodsScalingPolicy && p.Type != autoscalingv2.PercentScalingPolicy {
		errs = append(errs, field.NotSupported(path.Child("type"), p.Type, []string{"Percent", "Pods"}))
	}
	if p.Value <= 0 {
		errs = append(errs, field.Invalid(path.Child("value"), p.Value, "must be greater than zero"))
	}
	at := path.Child("periodSeconds")
	switch n := p.PeriodSeconds; {
	case n <= 0:
		errs = append(errs, field.Invalid(at, n, "must be greater than zero"))
	case n > longestPeriod:
		errs = append(errs, field.Invalid(at, n, fmt.Sprintf("must be less than or equal to %d", longestPeriod)))
	}
	return errs
}
