package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of all plugins of a host. Nil metrics count nothing.
type metrics struct {
	host    *Host
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec

	healthy, restarts, memory, cpu, dropped *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(h *Host) *metrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"plugin"}, nil)
	}
	return &metrics{
		host: h,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pintle_plugin_call_duration_seconds", Help: "Time that calls to plugins in processes of their own took.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}, []string{"plugin", "call"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pintle_plugin_call_errors_total", Help: "Calls to plugins that failed or got no answer.",
		}, []string{"plugin", "call"}),
		healthy:  desc("pintle_plugin_healthy", "1 while the plugin is healthy or in standby."),
		restarts: desc("pintle_plugin_restarts_total", "Starts of the plugin after the first, since its host started."),
		memory:   desc("pintle_plugin_memory_bytes", "Memory of the plugin's own."),
		cpu:      desc("pintle_plugin_cpu_seconds_total", "CPU time of the plugin's process, with its descendants where it has a cgroup."),
		dropped:  desc("pintle_plugin_log_dropped_bytes_total", "Output of the plugin that was too much to keep."),
	}
}

func (m *metrics) observe(plugin, call string, took time.Duration, failed bool) {
	if m == nil {
		return
	}
	m.seconds.WithLabelValues(plugin, call).Observe(took.Seconds())
	if failed {
		m.errors.WithLabelValues(plugin, call).Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.seconds.Describe(ch)
	m.errors.Describe(ch)
	for _, d := range []*prometheus.Desc{m.healthy, m.restarts, m.memory, m.cpu, m.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.seconds.Collect(ch)
	m.errors.Collect(ch)
	m.host.mu.Lock()
	plugins := m.host.sorted()
	m.host.mu.Unlock()
	for _, s := range plugins {
		st := s.snapshot()
		memory, cpu := s.usage()
		healthy := 0.0
		if st.Health == HealthHealthy || st.Health == HealthStandby {
			healthy = 1
		}
		name := st.Name
		ch <- prometheus.MustNewConstMetric(m.healthy, prometheus.GaugeValue, healthy, name)
		ch <- prometheus.MustNewConstMetric(m.restarts, prometheus.CounterValue, float64(st.Restarts), name)
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(s.out.droppedBytes()), name)
		if st.PID > 0 {
			ch <- prometheus.MustNewConstMetric(m.memory, prometheus.GaugeValue, float64(memory), name)
			ch <- prometheus.MustNewConstMetric(m.cpu, prometheus.CounterValue, cpu.Seconds(), name)
		}
	}
}
