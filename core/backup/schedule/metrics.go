package schedule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a runner; those of servers that do not lead stand still.
type metrics struct {
	last, next, bytes, seconds prometheus.Gauge
	successes, failures        prometheus.Counter
}

func newMetrics() metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "pintle", Subsystem: "backup", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pintle", Subsystem: "backup", Name: name, Help: help})
	}
	return metrics{
		last:      gauge("last_success_timestamp_seconds", "When the last scheduled backup of this server was finished."),
		next:      gauge("next_timestamp_seconds", "When this server tries the next backup."),
		bytes:     gauge("last_size_bytes", "Size of the last backup."),
		seconds:   gauge("last_duration_seconds", "How long the last backup took."),
		successes: counter("successes_total", "Scheduled backups that were made."),
		failures:  counter("failures_total", "Scheduled backups that failed, and tries to tidy up."),
	}
}

func (m metrics) register(r prometheus.Registerer) {
	r.MustRegister(m.last, m.next, m.bytes, m.seconds, m.successes, m.failures)
}

func (m metrics) succeeded(bytes int64, took time.Duration) {
	m.last.SetToCurrentTime()
	m.bytes.Set(float64(bytes))
	m.seconds.Set(took.Seconds())
	m.successes.Inc()
}
