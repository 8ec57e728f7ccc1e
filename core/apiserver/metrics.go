package apiserver

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are upstream's by name and labels, so that existing dashboards read them.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	watches  *prometheus.GaugeVec

	// series keeps the two instruments of each label set: finding them by labels costs
	// more than counting.
	series sync.Map // seriesKey → *series
}

type seriesKey struct {
	verb, group, version, resource, subresource string
	code                                        int
}

type series struct {
	count prometheus.Counter
	took  prometheus.Observer
}

func newMetrics(r *prometheus.Registry, reads, writes func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_request_total",
			Help: "Requests, by verb, group, version, resource, subresource and status code."},
			[]string{"verb", "group", "version", "resource", "subresource", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_request_duration_seconds",
			Help:    "Time from a request to the end of its answer, watches excluded.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}},
			[]string{"verb", "group", "version", "resource", "subresource"}),
		watches: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_longrunning_requests",
			Help: "Watches being served, by group, version and resource."}, []string{"verb", "group", "version", "resource"}),
	}
	inflight := func(kind string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "apiserver_current_inflight_requests",
			Help: "Requests being served.", ConstLabels: prometheus.Labels{"request_kind": kind}}, f)
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.watches, inflight("readOnly", reads), inflight("mutating", writes)} {
		if err := r.Register(c); err != nil {
			if already := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &already) {
				return nil, fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	return m, nil
}

func (m *metrics) done(rt *route, code int, took time.Duration) {
	if code == 0 {
		code = 200
	}
	key := seriesKey{verb: rt.verb, code: code}
	if rt.resource && code != 404 {
		// What is not found may be any text, which must not become a label.
		key.group, key.version, key.resource, key.subresource = rt.gvr.Group, rt.gvr.Version, rt.gvr.Resource, rt.subresource
	}
	v, ok := m.series.Load(key)
	if !ok {
		s := &series{count: m.requests.WithLabelValues(key.verb, key.group, key.version, key.resource, key.subresource, strconv.Itoa(code))}
		if rt.verb != "watch" {
			s.took = m.duration.WithLabelValues(key.verb, key.group, key.version, key.resource, key.subresource)
		}
		v, _ = m.series.LoadOrStore(key, s)
	}
	s, _ := v.(*series)
	s.count.Inc()
	if s.took != nil {
		s.took.Observe(took.Seconds())
	}
}
