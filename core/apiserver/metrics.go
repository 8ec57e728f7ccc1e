package apiserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
)

// metrics are upstream's by name and labels, so that existing dashboards read them.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	sizes    *prometheus.CounterVec
	watches  *prometheus.GaugeVec
	events   *prometheus.CounterVec

	// series keeps the instruments of each label set: finding them by labels costs more
	// than counting.
	series sync.Map // seriesKey → *series
}

type seriesKey struct {
	verb, group, version, resource, subresource, scope string
	dry                                                bool
	code                                               int
}

type series struct {
	count prometheus.Counter
	took  prometheus.Observer
	bytes prometheus.Counter
}

// component is this one's name in upstream's metrics.
const component = "apiserver"

func newMetrics(r *prometheus.Registry, reads, writes func() float64) (*metrics, error) {
	labels := []string{"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_request_total",
			Help: "Requests, by verb, dry run, group, version, resource, subresource, scope, component and status code."},
			append(labels, "code")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_request_duration_seconds",
			Help:    "Time in seconds from a request to the end of its answer, watches excluded.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}}, labels),
		sizes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_response_bytes_total",
			Help: "Bytes of answers, before TLS."}, labels),
		watches: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_longrunning_requests",
			Help: "Watches being served, by group, version, resource and scope."},
			[]string{"verb", "group", "version", "resource", "subresource", "scope", "component"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_watch_events_total",
			Help: "Events sent to watchers."}, []string{"group", "version", "resource"}),
	}
	inflight := func(kind string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "apiserver_current_inflight_requests",
			Help: "Requests being served.", ConstLabels: prometheus.Labels{"request_kind": kind}}, f)
	}
	return m, registerAll(r, m.requests, m.duration, m.sizes, m.watches, m.events,
		inflight("readOnly", reads), inflight("mutating", writes),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// registerAll registers collectors; those that are registered already stay.
func registerAll(r *prometheus.Registry, all ...prometheus.Collector) error {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			if already := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &already) {
				return fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	return nil
}

// scope of a request, as upstream names them.
func (rt *route) scope() string {
	switch {
	case !rt.resource:
		return ""
	case rt.name != "":
		return "resource"
	case rt.namespace != "":
		return "namespace"
	}
	return "cluster"
}

// upstreamVerbs are the verbs that metrics spell in another way than authorization does.
var upstreamVerbs = map[string]string{"create": "POST", "update": "PUT"}

func metricVerb(verb string) string {
	if v, ok := upstreamVerbs[verb]; ok {
		return v
	}
	return strings.ToUpper(verb)
}

// done counts a request that has been answered with so many bytes.
func (m *metrics) done(rt *route, code int, written int64, took time.Duration) {
	if code == 0 {
		code = 200
	}
	key := seriesKey{verb: rt.verb, code: code}
	if rt.resource && code != 404 {
		// What is not found may be any text, which must not become a label.
		key.group, key.version, key.resource, key.subresource = rt.gvr.Group, rt.gvr.Version, rt.gvr.Resource, rt.subresource
		key.scope, key.dry = rt.scope(), rt.dry
	}
	v, ok := m.series.Load(key)
	if !ok {
		v, _ = m.series.LoadOrStore(key, m.newSeries(key))
	}
	s, _ := v.(*series)
	s.count.Inc()
	s.bytes.Add(float64(written))
	if s.took != nil {
		s.took.Observe(took.Seconds())
	}
}

func (m *metrics) newSeries(key seriesKey) *series {
	dry := ""
	if key.dry {
		dry = "All"
	}
	labels := []string{metricVerb(key.verb), dry, key.group, key.version, key.resource, key.subresource, key.scope, component}
	s := &series{bytes: m.sizes.WithLabelValues(labels...)}
	if key.verb != "watch" {
		s.took = m.duration.WithLabelValues(labels...)
	}
	s.count = m.requests.WithLabelValues(append(labels, strconv.Itoa(key.code))...)
	return s
}

// counts gives the number of objects of each type when it is asked for.
type counts struct {
	store interface {
		Count(prefix store.Key) int
		Revision() uint64
	}
	types *registry.Registry
}

var (
	objectsDesc = prometheus.NewDesc("apiserver_resource_objects", "Objects stored, by group and resource.", []string{"group", "resource"}, nil)
	// oldObjectsDesc is the name by which dashboards knew it before.
	oldObjectsDesc = prometheus.NewDesc("apiserver_storage_objects", "Objects stored, by resource.", []string{"resource"}, nil)
	revisionDesc   = prometheus.NewDesc("pintle_store_revision", "The newest revision.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c counts) Describe(ch chan<- *prometheus.Desc) {
	ch <- objectsDesc
	ch <- oldObjectsDesc
	ch <- revisionDesc
}

// Collect implements prometheus.Collector.
func (c counts) Collect(ch chan<- prometheus.Metric) {
	seen := map[schema.GroupResource]bool{}
	snapshot := c.types.Snapshot()
	for _, g := range snapshot.Groups {
		for _, v := range g.Versions {
			for _, t := range v.Types {
				if d := t.Definition; !d.Virtual && !seen[d.GroupResource()] {
					seen[d.GroupResource()] = true
					c.collect(ch, d)
				}
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(revisionDesc, prometheus.GaugeValue, float64(c.store.Revision()))
}

func (c counts) collect(ch chan<- prometheus.Metric, d *crd.Definition) {
	n := float64(c.store.Count(store.Key(registry.Bucket(d) + "/")))
	gr := d.GroupResource()
	ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, n, gr.Group, gr.Resource)
	ch <- prometheus.MustNewConstMetric(oldObjectsDesc, prometheus.GaugeValue, n, gr.String())
}
