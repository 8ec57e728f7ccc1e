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
			Help: "Requests refused by flow control, by reason."}, append(flow[:2:2], "reason")),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name("request_wait_duration_seconds"),
			Help:    "Time that requests which had to wait spent in their queue.",
			Buckets: []float64{0.005, 0.02, 0.1, 0.5, 2, 5, 15, 30}}, flow),
	}
	m.nominal = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("nominal_limit_seats"), Help: "Seats that are the level's share."},
		[]string{"priority_level"})
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

// forget removes the series of a schema in a level, so that names of objects that come and go
// do not add up.
func (m *metrics) forget(level, schema string) {
	labels := prometheus.Labels{"priority_level": level, "flow_schema": schema}
	m.dispatched.Delete(labels)
	m.waited.Delete(labels)
	m.rejected.DeletePartialMatch(labels)
}

func stateDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("apiserver_flowcontrol_"+name, help, []string{"priority_level"}, nil)
}

var (
	inQueueDesc   = stateDesc("current_inqueue_requests", "Requests waiting.")
	executingDesc = stateDesc("current_executing_requests", "Requests being served.")
	seatsDesc     = stateDesc("current_executing_seats", "Seats in use.")
)

// states gives the levels' present numbers when they are asked for, so that requests pay
// nothing for them.
type states struct{ c *Controller }

// Describe implements prometheus.Collector.
func (s states) Describe(ch chan<- *prometheus.Desc) {
	ch <- inQueueDesc
	ch <- executingDesc
	ch <- seatsDesc
}

// Collect implements prometheus.Collector.
func (s states) Collect(ch chan<- prometheus.Metric) {
	for _, m := range s.now() {
		ch <- m
	}
}

func (s states) now() []prometheus.Metric {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	all := make([]prometheus.Metric, 0, 3*len(s.c.levels))
	for _, l := range s.c.levels {
		gauge := func(desc *prometheus.Desc, n int) {
			all = append(all, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), l.name))
		}
		gauge(inQueueDesc, l.waiting)
		gauge(executingDesc, l.running)
		gauge(seatsDesc, l.inUse)
	}
	return all
}
