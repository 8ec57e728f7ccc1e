package others

import (
	"context"
	stdjson "encoding/json"
	"fmt"
	"strings"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The annotations in which autoscaling/v1 keeps what its fields can't hold.
const (
	annotationPrefix  = "autoscaling.alpha.kubernetes.io/"
	metricsAnnotation = annotationPrefix + "metrics"
	currentAnnotation = annotationPrefix + "current-metrics"
	conditionsNote    = annotationPrefix + "conditions"
	behaviorNote      = annotationPrefix + "behavior"
)

// autoscalers are the hooks of autoscalers in both versions. What they do is said of v2;
// an object of v1 is looked at as v2.
type autoscalers struct{ hook.Kind }

func (autoscalers) asV2(r *resource.Request) *resource.Request {
	if r.Kind.Version != "v1" || r.Object == nil {
		return r
	}
	as := *r
	as.Object = autoscalerToV2(tree.CopyMap(r.Object))
	if r.Old != nil {
		as.Old = autoscalerToV2(tree.CopyMap(r.Old))
	}
	return &as
}

// Default implements resource.Defaulter. Beside the schema's, v1 has but one default of its
// own: what an autoscaler without any metrics goes by.
func (a autoscalers) Default(ctx context.Context, r *resource.Request) error {
	if r.Kind.Version == "v1" {
		spec := tree.Map(r.Object, "spec")
		if spec != nil && tree.Str(tree.In(r.Object, "metadata", "annotations"), metricsAnnotation) == "" {
			tree.SetDefault(spec, "targetCPUUtilizationPercentage", int64(busy))
		}
		return nil
	}
	return a.Kind.Default(ctx, r)
}

// Validate implements resource.Validator.
func (a autoscalers) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	return a.Kind.Validate(ctx, a.asV2(r))
}

// Cells implements resource.Printer.
func (a autoscalers) Cells(o map[string]any) []any {
	if tree.Str(o, "apiVersion") == "autoscaling/v1" {
		o = autoscalerToV2(tree.CopyMap(o))
	}
	return a.Kind.Cells(o)
}

// Convert changes an autoscaler to a version. The object is changed in place.
func (autoscalers) Convert(o map[string]any, to runtimeschema.GroupVersionKind) (map[string]any, error) {
	switch {
	case tree.Str(o, "apiVersion") == to.GroupVersion().String():
		return o, nil
	case to.Version == "v1":
		return autoscalerToV1(o)
	case to.Version == "v2":
		return autoscalerToV2(o), nil
	}
	return nil, fmt.Errorf("autoscaling: no conversion to %s", to)
}

func autoscalerToV1(o map[string]any) (map[string]any, error) {
	notes := map[string]any{}
	keep := func(name string, v any) error {
		text, err := stdjson.Marshal(v)
		notes[name] = string(text)
		return err
	}
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	for _, part := range [...]struct {
		in                                 map[string]any
		list, note, cpu, values, direction string
	}{
		{spec, "metrics", metricsAnnotation, "targetCPUUtilizationPercentage", "target", "target"},
		{status, "currentMetrics", currentAnnotation, "currentCPUUtilizationPercentage", "current", "current"},
	} {
		var others []any
		for _, v := range tree.List(part.in, part.list) {
			m := tree.Object(v)
			n, ok := tree.Int(tree.In(m, "resource", part.values), "averageUtilization")
			if _, have := part.in[part.cpu]; ok && !have && tree.Str(tree.Map(m, "resource"), "name") == "cpu" {
				part.in[part.cpu] = n
				continue
			}
			others = append(others, metricToV1(m, part.direction))
		}
		delete(part.in, part.list)
		if len(others) > 0 {
			if err := keep(part.note, others); err != nil {
				return nil, fmt.Errorf("autoscaling: %s: %w", part.list, err)
			}
		}
	}
	for _, part := range [...]struct {
		in        map[string]any
		key, note string
	}{{spec, "behavior", behaviorNote}, {status, "conditions", conditionsNote}} {
		if v := part.in[part.key]; v != nil {
			if err := keep(part.note, v); err != nil {
				return nil, fmt.Errorf("autoscaling: %s: %w", part.key, err)
			}
		}
		delete(part.in, part.key)
	}
	if len(notes) > 0 {
		annotations := tree.Ensure(tree.Ensure(o, "metadata"), "annotations")
		for k, v := range notes {
			annotations[k] = v
		}
	}
	o["apiVersion"] = "autoscaling/v1"
	return o, nil
}

// autoscalerToV2 leaves out what the annotations do not hold well.
func autoscalerToV2(o map[string]any) map[string]any {
	meta := tree.Map(o, "metadata")
	annotations := tree.Map(meta, "annotations")
	take := func(name string) (v any) {
		text := tree.Str(annotations, name)
		delete(annotations, name)
		if text == "" || json.Unmarshal([]byte(text), &v) != nil {
			return nil
		}
		return v
	}
	for _, part := range [...]struct{ in, list, note, cpu, direction string }{
		{"spec", "metrics", metricsAnnotation, "targetCPUUtilizationPercentage", "target"},
		{"status", "currentMetrics", currentAnnotation, "currentCPUUtilizationPercentage", "current"},
	} {
		var all []any
		list, _ := take(part.note).([]any)
		for _, m := range list {
			all = append(all, metricToV2(tree.Object(m), part.direction))
		}
		in := tree.Map(o, part.in)
		if n, ok := tree.Int(in, part.cpu); ok {
			value := map[string]any{"averageUtilization": n}
			if part.direction == "target" {
				value["type"] = "Utilization"
			}
			all = append(all, map[string]any{"type": "Resource", "resource": map[string]any{"name": "cpu", part.direction: value}})
			delete(in, part.cpu)
		}
		if len(all) > 0 {
			tree.Ensure(o, part.in)[part.list] = all
		}
	}
	if v := take(behaviorNote); v != nil {
		tree.Ensure(o, "spec")["behavior"] = v
	}
	if v := take(conditionsNote); v != nil {
		tree.Ensure(o, "status")["conditions"] = v
	}
	if annotations != nil && len(annotations) == 0 {
		delete(meta, "annotations")
	}
	o["apiVersion"] = "autoscaling/v2"
	return o
}

// metricFields say where v2 has what v1 names flatly, by the kind of metric. VALUE stands
// for target in a spec and for current in a status.
var metricFields = map[string][][2]string{
	"resource":          {{"name", "name"}, {"VALUEAverageUtilization", "VALUE.averageUtilization"}, {"VALUEAverageValue", "VALUE.averageValue"}},
	"containerResource": {{"name", "name"}, {"container", "container"}, {"VALUEAverageUtilization", "VALUE.averageUtilization"}, {"VALUEAverageValue", "VALUE.averageValue"}},
	"pods":              {{"metricName", "metric.name"}, {"selector", "metric.selector"}, {"VALUEAverageValue", "VALUE.averageValue"}},
	"object": {{"target", "describedObject"}, {"metricName", "metric.name"}, {"selector", "metric.selector"},
		{"VALUEValue", "VALUE.value"}, {"averageValue", "VALUE.averageValue"}},
	"external": {{"metricName", "metric.name"}, {"metricSelector", "metric.selector"},
		{"VALUEValue", "VALUE.value"}, {"VALUEAverageValue", "VALUE.averageValue"}},
}

// valueTypes are the types of v2's targets by the value that they have.
var valueTypes = [...][2]string{{"averageUtilization", "Utilization"}, {"averageValue", "AverageValue"}, {"value", "Value"}}

func metricToV1(m map[string]any, direction string) map[string]any {
	return metricWith(m, func(key string, source map[string]any) map[string]any {
		out := map[string]any{}
		for _, f := range metricFields[key] {
			parts := strings.Split(strings.ReplaceAll(f[1], "VALUE", direction), ".")
			if v := tree.In(source, parts[:len(parts)-1]...)[parts[len(parts)-1]]; v != nil {
				out[strings.ReplaceAll(f[0], "VALUE", direction)] = v
			}
		}
		return out
	})
}

func metricToV2(m map[string]any, direction string) map[string]any {
	return metricWith(m, func(key string, source map[string]any) map[string]any {
		out := map[string]any{}
		for _, f := range metricFields[key] {
			v := source[strings.ReplaceAll(f[0], "VALUE", direction)]
			if v == nil {
				continue
			}
			at, name, nested := strings.Cut(strings.ReplaceAll(f[1], "VALUE", direction), ".")
			if !nested {
				out[at] = v
				continue
			}
			tree.Ensure(out, at)[name] = v
		}
		if target := tree.Map(out, "target"); target != nil && direction == "target" {
			for _, t := range valueTypes {
				if _, ok := target[t[0]]; ok {
					target["type"] = t[1]
				}
			}
		}
		return out
	})
}

// metricWith makes a metric with its source converted.
func metricWith(m map[string]any, convert func(key string, source map[string]any) map[string]any) map[string]any {
	typ := tree.Str(m, "type")
	out := map[string]any{"type": typ}
	if typ != "" {
		key := strings.ToLower(typ[:1]) + typ[1:]
		if source := tree.Map(m, key); source != nil {
			out[key] = convert(key, source)
		}
	}
	return out
}
