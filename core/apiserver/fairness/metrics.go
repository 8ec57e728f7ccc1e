package fairness

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are upstream's by name and labels.
type metrics struct {
	dispatched *prometheus.CounterVec
	rejected   *prometheus.CounterVec
	waited     *prometheus.HistogramVec
	inQueue    *prometheus.GaugeVec
	executing  *prometheus.GaugeVec
	seats      *prometheus.GaugeVec
	nominal    *prometheus.GaugeVec
}

type flowMetrics struct {
	dispatched prometheus.Counter
	waited     prometheus.Observer
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	name := func(s string) string { return "apiserver_flowcontrol_" + s }
	flow := []string{"priority_level", "flow_schema"}
	m := &metrics{
		dispatched: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("dispatched_requests_total"),
			Help: "Requests that were given their seats."}, flow),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("rejected_requests_total"),
			Help: "Requests refused by flow control, by reason."}, append(flow, "reason")),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name("request_wait_duration_seconds"),
			Help:    "Time that requests which had to wait spent in their queue.",
			Buckets: []float64{0.005, 0.02, 0.1, 0.5, 2, 5, 15, 30}}, flow),
	}
	gauge := func(s, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name(s), Help: help}, []string{"priority_level"})
	}
	m.inQueue = gauge("current_inqueue_requests", "Requests waiting.")
	m.executing = gauge("current_executing_requests", "Requests being served.")
	m.seats = gauge("current_executing_seats", "Seats in use.")
	m.nominal = gauge("nominal_limit_seats", "Seats that are the level's share.")
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.dispatched, m.rejected, m.waited, m.nominal} {
		if err := register(r, c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func register(r prometheus.Registerer, c prometheus.Collector) error {
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); err != nil && !errors.As(err, &already) {
		return fmt.Errorf("register metrics of flow control: %w", err)
	}
	return nil
}

func (m *metrics) flow(level, schema string) flowMetrics {
	return flowMetrics{dispatched: m.dispatched.WithLabelValues(level, schema), waited: m.waited.WithLabelValues(level, schema)}
}

// states gives the levels' present numbers when they are asked for, so that requests pay
// nothing for them.
type states struct{ c *Controller }

// Describe implements prometheus.Collector.
func (s states) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range []*prometheus.GaugeVec{s.c.metrics.inQueue, s.c.metrics.executing, s.c.metrics.seats} {
		g.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (s states) Collect(ch chan<- prometheus.Metric) {
	m := s.c.metrics
	s.c.mu.Lock()
	m.inQueue.Reset()
	m.executing.Reset()
	m.seats.Reset()
	for _, l := range s.c.levels {
		m.inQueue.WithLabelValues(l.name).Set(float64(l.waiting))
		m.executing.WithLabelValues(l.name).Set(float64(l.running))
		m.seats.WithLabelValues(l.name).Set(float64(l.inUse))
	}
	s.c.mu.Unlock()
	m.inQueue.Collect(ch)
	m.executing.Collect(ch)
	m.seats.Collect(ch)
}
