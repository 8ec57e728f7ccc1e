package apiserver

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
)

// requestSeries counts requests by what they asked for. A server with a thousand custom
// resources has thousands of label sets, so one is a few numbers here; what Prometheus knows
// of it (a metric with its labels, some four times as much for each) is made when it is asked for.
type requestSeries struct {
	all sync.Map // seriesKey → *series
}

// seriesKey is the labels of a request.
type seriesKey struct {
	verb, group, version, resource, subresource, scope string
	dry                                                bool
	code                                               int
}

// series is what is counted for one key.
type series struct {
	count, bytes atomic.Uint64
	// nanos is the time that all requests together took; buckets those of each length, the
	// last one those that took longer than any bound.
	nanos   atomic.Int64
	buckets [len(durationBounds) + 1]atomic.Uint64
}

// durationBounds are the upper bounds of a request's time, in seconds.
var durationBounds = [...]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

var (
	requestLabels = []string{"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"}

	requestsDesc = prometheus.NewDesc("apiserver_request_total",
		"Requests, by verb, dry run, group, version, resource, subresource, scope, component and status code.",
		append(requestLabels[:len(requestLabels):len(requestLabels)], "code"), nil)
	durationDesc = prometheus.NewDesc("apiserver_request_duration_seconds",
		"Time in seconds from a request to the end of its answer, watches excluded.", requestLabels, nil)
	sizesDesc = prometheus.NewDesc("apiserver_response_bytes_total", "Bytes of answers, before TLS.", requestLabels, nil)
)

// done counts a request that has been answered with so many bytes.
func (r *requestSeries) done(key seriesKey, written int64, took time.Duration) {
	v, ok := r.all.Load(key)
	if !ok {
		v, _ = r.all.LoadOrStore(key, &series{})
	}
	s, _ := v.(*series)
	s.count.Add(1)
	s.bytes.Add(uint64(max(written, 0)))
	s.nanos.Add(int64(took))
	s.buckets[bucket(took.Seconds())].Add(1)
}

func bucket(seconds float64) int {
	for i, bound := range durationBounds {
		if seconds <= bound {
			return i
		}
	}
	return len(durationBounds)
}

// Describe implements prometheus.Collector.
func (r *requestSeries) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- durationDesc
	ch <- sizesDesc
}

// total is what requests that differ by their status code only add up to.
type total struct {
	bytes, count uint64
	nanos        int64
	buckets      [len(durationBounds)]uint64
}

// Collect implements prometheus.Collector.
func (r *requestSeries) Collect(ch chan<- prometheus.Metric) {
	totals := map[seriesKey]*total{}
	r.all.Range(func(k, v any) bool {
		key, _ := k.(seriesKey)
		s, _ := v.(*series)
		send(ch, requestsDesc, float64(s.count.Load()), append(key.labels(), strconv.Itoa(key.code)))
		key.code = 0
		t := totals[key]
		if t == nil {
			t = &total{}
			totals[key] = t
		}
		t.add(s)
		return true
	})
	for key, t := range totals {
		labels := key.labels()
		send(ch, sizesDesc, float64(t.bytes), labels)
		if key.verb == "watch" {
			continue
		}
		buckets := make(map[float64]uint64, len(durationBounds))
		for i, bound := range durationBounds {
			buckets[bound] = t.buckets[i]
		}
		m, err := prometheus.NewConstHistogram(durationDesc, t.count, time.Duration(t.nanos).Seconds(), buckets, labels...)
		if err == nil {
			ch <- m
		}
	}
}

// send leaves out what no label may be, such as text that is not UTF-8.
func send(ch chan<- prometheus.Metric, desc *prometheus.Desc, v float64, labels []string) {
	if m, err := prometheus.NewConstMetric(desc, prometheus.CounterValue, v, labels...); err == nil {
		ch <- m
	}
}

// add adds a series; buckets hold what took at most as long as their bound.
func (t *total) add(s *series) {
	t.bytes += s.bytes.Load()
	t.nanos += s.nanos.Load()
	var n uint64
	for i := range s.buckets {
		n += s.buckets[i].Load()
		if i < len(t.buckets) {
			t.buckets[i] += n
		}
	}
	t.count += n
}

func (k *seriesKey) labels() []string {
	dry := ""
	if k.dry {
		dry = "All"
	}
	labels := make([]string, 0, len(requestLabels)+1)
	return append(labels, metricVerb(k.verb), dry, k.group, k.version, k.resource, k.subresource, k.scope, component)
}

// known reports whether a resource, and its subresource if one is named, exists. What a request
// that failed asked for may be any text, which must not become a label.
func (s *Server) known(gvr schema.GroupVersionResource, subresource string) bool {
	t, ok := s.cfg.Registry.Lookup(gvr)
	if !ok {
		return false
	}
	switch subresource {
	case "":
		return true
	case "status":
		return t.Version.Status
	case "scale":
		return t.Version.Scale != nil
	}
	return slices.ContainsFunc(t.Version.Subresources, func(sub crd.Subresource) bool { return sub.Name == subresource })
}
