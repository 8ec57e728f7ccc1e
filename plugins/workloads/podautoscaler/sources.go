package podautoscaler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// question is what a proposal is worked out for.
type question struct {
	metrics   metrics
	namespace string
	scale     *autoscalingv1.Scale
	selector  labels.Selector
	tolerance tolerance
	now       time.Time
	// pods reads the pods under the selector, as they are.
	pods func() ([]v1.Pod, error)
}

// proposal is how many pods one metric asks for.
type proposal struct {
	n      int32
	name   string
	status autoscalingv2.MetricStatus
}

// failure is an error with the reason that the condition and the event give.
type failure struct {
	reason string
	error
}

// propose works out what a metric asks for.
func (q *question) propose(ctx context.Context, spec *autoscalingv2.MetricSpec) (proposal, *failure) {
	var p proposal
	var err error
	var reason string
	switch spec.Type {
	case autoscalingv2.ResourceMetricSourceType:
		reason = "FailedGetResourceMetric"
		var current autoscalingv2.MetricValueStatus
		p, current, err = q.resource(ctx, spec.Resource.Name, spec.Resource.Target, "")
		p.status.Resource = &autoscalingv2.ResourceMetricStatus{Name: spec.Resource.Name, Current: current}
	case autoscalingv2.ContainerResourceMetricSourceType:
		reason = "FailedGetContainerResourceMetric"
		var current autoscalingv2.MetricValueStatus
		p, current, err = q.resource(ctx, spec.ContainerResource.Name, spec.ContainerResource.Target, spec.ContainerResource.Container)
		p.status.ContainerResource = &autoscalingv2.ContainerResourceMetricStatus{Name: spec.ContainerResource.Name, Container: spec.ContainerResource.Container, Current: current}
	case autoscalingv2.PodsMetricSourceType:
		reason = "FailedGetPodsMetric"
		p, err = q.ofPods(ctx, spec.Pods)
	case autoscalingv2.ObjectMetricSourceType:
		reason = "FailedGetObjectMetric"
		p, err = q.ofObject(ctx, spec.Object)
	case autoscalingv2.ExternalMetricSourceType:
		reason = "FailedGetExternalMetric"
		p, err = q.external(ctx, spec.External)
	default:
		return proposal{}, &failure{"InvalidMetricSourceType", fmt.Errorf("unknown metric source type %q", spec.Type)}
	}
	if err != nil {
		return proposal{}, &failure{reason, err}
	}
	p.status.Type = spec.Type
	return p, nil
}

func (q *question) resource(ctx context.Context, name v1.ResourceName, target autoscalingv2.MetricTarget, container string) (proposal, autoscalingv2.MetricValueStatus, error) {
	var p proposal
	var current autoscalingv2.MetricValueStatus
	what, kind := "utilization", "resource utilization (percentage of request)"
	switch {
	case target.AverageValue != nil:
		what, kind = "usage", "resource"
	case target.AverageUtilization == nil:
		return p, current, errors.New("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set")
	case container != "":
		kind = "container " + kind
	}
	n, shown, err := q.byResource(ctx, name, target, container)
	if err != nil {
		return p, current, fmt.Errorf("failed to get %s %s: %w", name, what, err)
	}
	quantity := resource.NewMilliQuantity(shown.average, resource.DecimalSI)
	if name == v1.ResourceMemory {
		quantity = resource.NewQuantity(shown.average/1000, resource.BinarySI)
	}
	current.AverageValue, current.AverageUtilization = quantity, shown.utilization
	return proposal{n: n, name: fmt.Sprintf("%s %s", name, kind)}, current, nil
}

func (q *question) byResource(ctx context.Context, name v1.ResourceName, target autoscalingv2.MetricTarget, container string) (int32, usage, error) {
	s, err := q.metrics.resource(ctx, name, q.namespace, q.selector, container)
	if err != nil {
		return 0, usage{}, fmt.Errorf("unable to get metrics for resource %s: %w", name, err)
	}
	pods, err := q.pods()
	if err != nil {
		return 0, usage{}, err
	}
	cpu := name == v1.ResourceCPU
	if target.AverageValue != nil {
		value := target.AverageValue.MilliValue()
		return replicasFor(q.scale.Spec.Replicas, pods, s, cpu, byValue(value), func(string) int64 { return value }, q.tolerance, q.now)
	}
	requests, err := requestsOf(pods, name, container)
	if err != nil {
		return 0, usage{}, err
	}
	percent := *target.AverageUtilization
	assumed := func(pod string) int64 { return requests[pod] * int64(max(100, percent)) / 100 }
	return replicasFor(q.scale.Spec.Replicas, pods, s, cpu, byUtilization(percent, requests), assumed, q.tolerance, q.now)
}

func (q *question) ofPods(ctx context.Context, source *autoscalingv2.PodsMetricSource) (proposal, error) {
	metric, err := metav1.LabelSelectorAsSelector(orAll(source.Metric.Selector))
	if err != nil {
		return proposal{}, err
	}
	if source.Target.AverageValue == nil {
		return proposal{}, errors.New("invalid pods metric source: no average value target was set")
	}
	s, err := q.metrics.pods(ctx, source.Metric.Name, q.namespace, q.selector, metric)
	if err != nil {
		return proposal{}, fmt.Errorf("unable to get metric %s: %w", source.Metric.Name, err)
	}
	pods, err := q.pods()
	if err != nil {
		return proposal{}, err
	}
	target := source.Target.AverageValue.MilliValue()
	n, shown, err := replicasFor(q.scale.Spec.Replicas, pods, s, false, byValue(target), func(string) int64 { return target }, q.tolerance, q.now)
	return proposal{n, "pods metric " + source.Metric.Name, autoscalingv2.MetricStatus{Pods: &autoscalingv2.PodsMetricStatus{
		Metric: source.Metric, Current: autoscalingv2.MetricValueStatus{AverageValue: milli(shown.average)},
	}}}, err
}

func (q *question) ofObject(ctx context.Context, source *autoscalingv2.ObjectMetricSource) (proposal, error) {
	metric, err := metav1.LabelSelectorAsSelector(orAll(source.Metric.Selector))
	if err != nil {
		return proposal{}, err
	}
	object := source.DescribedObject
	path := []string{"namespaces", q.namespace, "metrics", source.Metric.Name}
	if object.Kind != "Namespace" {
		resource, err := q.metrics.plural(object)
		if err != nil {
			return proposal{}, err
		}
		path = []string{"namespaces", q.namespace, resource, object.Name, source.Metric.Name}
	}
	value, err := q.metrics.object(ctx, metric, path...)
	if err != nil {
		return proposal{}, fmt.Errorf("unable to get metric %s: %w on %s %s/%s", source.Metric.Name, err, object.Kind, q.namespace, object.Name)
	}
	p, err := q.shared(value, source.Target, func(current autoscalingv2.MetricValueStatus) autoscalingv2.MetricStatus {
		return autoscalingv2.MetricStatus{Object: &autoscalingv2.ObjectMetricStatus{DescribedObject: object, Metric: source.Metric, Current: current}}
	})
	p.name = fmt.Sprintf("%s metric %s", object.Kind, source.Metric.Name)
	return p, err
}

func (q *question) external(ctx context.Context, source *autoscalingv2.ExternalMetricSource) (proposal, error) {
	metric, err := metav1.LabelSelectorAsSelector(orAll(source.Metric.Selector))
	if err != nil {
		return proposal{}, err
	}
	value, err := q.metrics.external(ctx, source.Metric.Name, q.namespace, metric)
	if err != nil {
		return proposal{}, fmt.Errorf("failed to get %s external metric: unable to get external metric %s/%s/%+v: %w", source.Metric.Name, q.namespace, source.Metric.Name, source.Metric.Selector, err)
	}
	p, err := q.shared(value, source.Target, func(current autoscalingv2.MetricValueStatus) autoscalingv2.MetricStatus {
		return autoscalingv2.MetricStatus{External: &autoscalingv2.ExternalMetricStatus{Metric: source.Metric, Current: current}}
	})
	p.name = fmt.Sprintf("external metric %s(%+v)", source.Metric.Name, source.Metric.Selector)
	return p, err
}

// shared is what one value asks for that is all pods' or each pod's share.
func (q *question) shared(value int64, target autoscalingv2.MetricTarget, status func(autoscalingv2.MetricValueStatus) autoscalingv2.MetricStatus) (proposal, error) {
	switch {
	case target.AverageValue != nil:
		n, share := replicasPerPod(q.scale.Status.Replicas, value, target.AverageValue.MilliValue(), q.tolerance)
		return proposal{n: n, status: status(autoscalingv2.MetricValueStatus{AverageValue: milli(share)})}, nil
	case target.Value != nil:
		pods, err := q.pods()
		if err != nil {
			return proposal{}, err
		}
		n, err := replicasForTotal(q.scale.Spec.Replicas, pods, value, target.Value.MilliValue(), q.tolerance)
		return proposal{n: n, status: status(autoscalingv2.MetricValueStatus{Value: milli(value)})}, err
	}
	return proposal{}, errors.New("invalid metric source: neither a value target nor an average value target was set")
}

// plural returns how the custom metrics API calls the type of an object.
func (m metrics) plural(object autoscalingv2.CrossVersionObjectReference) (string, error) {
	gv, err := schema.ParseGroupVersion(object.APIVersion)
	if err != nil {
		return "", err
	}
	list, err := m.discovery.ServerResourcesForGroupVersion(gv.String())
	if err != nil {
		return "", fmt.Errorf("look up %s of %s: %w", object.Kind, gv, err)
	}
	for _, r := range list.APIResources {
		if r.Kind == object.Kind && !strings.Contains(r.Name, "/") {
			return schema.GroupResource{Group: gv.Group, Resource: r.Name}.String(), nil
		}
	}
	return "", fmt.Errorf("no matches for kind %q in version %q", object.Kind, gv)
}

// orAll is a selector that selects everything where there is none.
func orAll(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return &metav1.LabelSelector{}
	}
	return s
}

func milli(n int64) *resource.Quantity { return resource.NewMilliQuantity(n, resource.DecimalSI) }
