package podautoscaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// sample is what is known of one pod.
type sample struct {
	at     time.Time
	window time.Duration
	value  int64 // in thousandths
}

// samples are by the name of the pod.
type samples map[string]sample

// defaultWindow is over how long a value was taken that does not say so.
const defaultWindow = time.Minute

// Read asks the API server for a path and returns the answer in JSON.
type Read func(ctx context.Context, query map[string]string, path ...string) ([]byte, error)

// metrics reads from metrics servers through the API server.
type metrics struct {
	discovery discovery.DiscoveryInterface
	read      Read
}

// readFrom reads by the client of discovery, which is one for any path.
func readFrom(d discovery.DiscoveryInterface) Read {
	return func(ctx context.Context, query map[string]string, path ...string) ([]byte, error) {
		request := d.RESTClient().Get().AbsPath(path...).SetHeader("Accept", "application/json")
		for k, v := range query {
			if v != "" {
				request = request.Param(k, v)
			}
		}
		return request.Do(ctx).Raw()
	}
}

func (m metrics) get(ctx context.Context, out any, query map[string]string, path ...string) error {
	raw, err := m.read(ctx, query, path...)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// podMetricsList is metrics.k8s.io/v1beta1 PodMetricsList, as far as it is used.
type podMetricsList struct {
	Items []struct {
		Metadata   metav1.ObjectMeta `json:"metadata"`
		Timestamp  metav1.Time       `json:"timestamp"`
		Window     metav1.Duration   `json:"window"`
		Containers []struct {
			Name  string          `json:"name"`
			Usage v1.ResourceList `json:"usage"`
		} `json:"containers"`
	} `json:"items"`
}

// resource returns how much of a resource pods use, or one container of each.
func (m metrics) resource(ctx context.Context, name v1.ResourceName, namespace string, selector labels.Selector, container string) (samples, error) {
	var list podMetricsList
	err := m.get(ctx, &list, map[string]string{"labelSelector": selector.String()}, "/apis/metrics.k8s.io/v1beta1/namespaces", namespace, "pods")
	if apierrors.IsNotFound(err) {
		// No such API, most likely; a client of the type would say which.
		err = fmt.Errorf("%w (get pods.metrics.k8s.io)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from resource metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("no metrics returned from resource metrics API")
	}
	out := samples{}
	for _, item := range list.Items {
		s := sample{at: item.Timestamp.Time, window: item.Window.Duration}
		known := false
		for _, c := range item.Containers {
			if container != "" && c.Name != container {
				continue
			}
			var q resource.Quantity
			if q, known = c.Usage[name]; !known {
				break
			}
			s.value += q.MilliValue()
		}
		if known {
			out[item.Metadata.Name] = s
		}
	}
	return out, nil
}

// metricValueList is custom.metrics.k8s.io MetricValueList, as far as it is used.
type metricValueList struct {
	Items []struct {
		DescribedObject v1.ObjectReference `json:"describedObject"`
		Timestamp       metav1.Time        `json:"timestamp"`
		WindowSeconds   *int64             `json:"windowSeconds"`
		Value           resource.Quantity  `json:"value"`
	} `json:"items"`
}

var customVersions = []string{"v1beta2", "v1beta1"}

func (m metrics) custom(ctx context.Context, query map[string]string, path ...string) (*metricValueList, error) {
	var list metricValueList
	version := customVersions[len(customVersions)-1]
	for _, v := range customVersions {
		if _, err := m.discovery.ServerResourcesForGroupVersion(schema.GroupVersion{Group: "custom.metrics.k8s.io", Version: v}.String()); err == nil {
			version = v
			break
		}
	}
	if err := m.get(ctx, &list, query, append([]string{"/apis/custom.metrics.k8s.io", version}, path...)...); err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("no metrics returned from custom metrics API")
	}
	return &list, nil
}

// pods returns a metric of each pod.
func (m metrics) pods(ctx context.Context, name, namespace string, selector, metric labels.Selector) (samples, error) {
	list, err := m.custom(ctx, map[string]string{"labelSelector": selector.String(), "metricLabelSelector": metric.String()}, "namespaces", namespace, "pods", "*", name)
	if err != nil {
		return nil, err
	}
	out := samples{}
	for _, item := range list.Items {
		window := defaultWindow
		if item.WindowSeconds != nil {
			window = time.Duration(*item.WindowSeconds) * time.Second
		}
		out[item.DescribedObject.Name] = sample{item.Timestamp.Time, window, item.Value.MilliValue()}
	}
	return out, nil
}

// object returns a metric of one object, in thousandths.
func (m metrics) object(ctx context.Context, metric labels.Selector, path ...string) (int64, error) {
	list, err := m.custom(ctx, map[string]string{"metricLabelSelector": metric.String()}, path...)
	if err != nil {
		return 0, err
	}
	return list.Items[0].Value.MilliValue(), nil
}

// external returns the sum of a metric from outside the cluster, in thousandths.
func (m metrics) external(ctx context.Context, name, namespace string, metric labels.Selector) (int64, error) {
	var list struct {
		Items []struct {
			Value resource.Quantity `json:"value"`
		} `json:"items"`
	}
	err := m.get(ctx, &list, map[string]string{"labelSelector": metric.String()}, "/apis/external.metrics.k8s.io/v1beta1/namespaces", namespace, name)
	if err != nil {
		return 0, fmt.Errorf("unable to fetch metrics from external metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return 0, errors.New("no metrics returned from external metrics API")
	}
	sum := int64(0)
	for _, item := range list.Items {
		value := item.Value.MilliValue()
		if value > 0 && sum > math.MaxInt64-value {
			return math.MaxInt64, nil
		}
		sum += value
	}
	return sum, nil
}
