package plugins

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are made when the first plugin is called, so that they cost nothing before.
type metrics struct {
	duration *prometheus.HistogramVec
	failOpen *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, log *slog.Logger) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pintle_admission_plugin_duration_seconds", Help: "Time that admission plugins took, by plugin, step and outcome (allowed, refused, failed).",
			Buckets: []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30},
		}, []string{"plugin", "step", "outcome"}),
		failOpen: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pintle_admission_plugin_fail_open_total", Help: "Calls of admission plugins that failed and were ignored, by plugin and step.",
		}, []string{"plugin", "step"}),
	}
	if r != nil {
		for _, c := range []prometheus.Collector{m.duration, m.failOpen} {
			if err := r.Register(c); err != nil {
				log.Warn("a metric of admission plugins is not shown", "error", err)
			}
		}
	}
	return m
}

// called counts one call.
func (m *metrics) called(plugin, step string, took time.Duration, err error) {
	outcome := "allowed"
	var failed *callError
	switch {
	case errors.As(err, &failed):
		outcome = "failed"
	case err != nil:
		outcome = "refused"
	}
	m.duration.WithLabelValues(plugin, step, outcome).Observe(took.Seconds())
}

func (m *metrics) failedOpen(plugin, step string) { m.failOpen.WithLabelValues(plugin, step).Inc() }
