package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are upstream's by name and labels, so that existing dashboards read them.
type metrics struct {
	checks, mutations                 *prometheus.CounterVec
	checkDuration, mutationsDurations *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	buckets := []float64{0.0000005, 0.001, 0.01, 0.1, 1.0}
	validating := []string{"policy", "policy_binding", "error_type", "enforcement_action"}
	mutating := []string{"policy", "policy_binding", "error_type"}
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_validating_admission_policy_check_total",
			Help: "Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken."}, validating),
		checkDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_validating_admission_policy_check_duration_seconds", Buckets: buckets,
			Help: "Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken."}, validating),
		mutations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_mutating_admission_policy_check_total",
			Help: "Mutation admission policy check total, labeled by policy and further identified by binding."}, mutating),
		mutationsDurations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_mutating_admission_policy_check_duration_seconds", Buckets: buckets,
			Help: "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding."}, mutating),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.checks, m.checkDuration, m.mutations, m.mutationsDurations} {
		if err := r.Register(c); err != nil {
			if already := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &already) {
				return nil, fmt.Errorf("register metrics of admission policies: %w", err)
			}
		}
	}
	return m, nil
}

// check counts a validation; action is allow, deny, audit or warn.
func (m *metrics) check(policy, binding, action string, d *decision) {
	m.checks.WithLabelValues(policy, binding, errorType(d.failed, d.message), action).Inc()
	m.checkDuration.WithLabelValues(policy, binding, errorType(d.failed, d.message), action).Observe(d.elapsed.Seconds())
}

func (m *metrics) mutation(policy, binding string, took time.Duration, err error) {
	kind := "no_error"
	if err != nil {
		kind = errorType(true, err.Error())
	}
	m.mutations.WithLabelValues(policy, binding, kind).Inc()
	m.mutationsDurations.WithLabelValues(policy, binding, kind).Observe(took.Seconds())
}

// errorType tells from a message what has failed, as upstream does. Refusals count as
// invalid_error there too.
func errorType(failed bool, message string) string {
	switch {
	case strings.HasPrefix(message, "compilation"):
		return "compile_error"
	case strings.HasPrefix(message, "validation failed due to running out of cost budget"):
		return "out_of_budget"
	case !failed && message == "":
		return "no_error"
	}
	return "invalid_error"
}
