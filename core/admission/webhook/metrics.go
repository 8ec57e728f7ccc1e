package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/sdk/admission"
)

// metrics are upstream's by name and labels.
type metrics struct {
	duration          *prometheus.HistogramVec
	requests          *prometheus.CounterVec
	rejections        *prometheus.CounterVec
	failOpen          *prometheus.CounterVec
	conditionErrors   *prometheus.CounterVec
	conditionExcluded *prometheus.CounterVec
	conditionSeconds  *prometheus.HistogramVec
}

// maxCode bounds the codes in labels, which webhooks choose.
const maxCode = 600

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_admission_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_admission_" + name, Help: help, Buckets: buckets}, labels)
	}
	m := &metrics{
		duration: histogram("webhook_admission_duration_seconds", "Time that webhooks took, by name, type of admission and operation.",
			[]float64{0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25}, "name", "type", "operation", "rejected"),
		requests: counter("webhook_request_total", "Calls of webhooks, by name, type of admission, operation and status code.",
			"name", "type", "operation", "code", "rejected"),
		rejections: counter("webhook_rejection_count", "Requests refused by webhooks, or because they could not be called, by name, type of admission and operation.",
			"name", "type", "operation", "error_type", "rejection_code"),
		failOpen: counter("webhook_fail_open_count", "Calls of webhooks that failed and were ignored, by name and type of admission.",
			"name", "type"),
		conditionErrors: counter("match_condition_evaluation_errors_total", "Match conditions that could not be evaluated.",
			"name", "kind", "type", "operation"),
		conditionExcluded: counter("match_condition_exclusions_total", "Requests that match conditions have excluded.",
			"name", "kind", "type", "operation"),
		conditionSeconds: histogram("match_condition_evaluation_seconds", "Time that match conditions took.",
			[]float64{0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25}, "name", "kind", "type", "operation"),
	}
	if r == nil {
		return m, nil
	}
	for _, err := range [...]error{
		register(r, &m.duration), register(r, &m.requests), register(r, &m.rejections), register(r, &m.failOpen),
		register(r, &m.conditionErrors), register(r, &m.conditionExcluded), register(r, &m.conditionSeconds),
	} {
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// register takes the metric that is there already, if there is one: policies have match
// conditions, too.
func register[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
		if known, ok := already.ExistingCollector.(C); ok {
			*c = known
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("register metrics of webhooks: %w", err)
	}
	return nil
}

func codeLabel(code int32) string { return strconv.Itoa(int(min(code, maxCode))) }

// called counts one call.
func (m *metrics) called(h *hook, r *admission.Request, took time.Duration, err error) {
	var (
		call     *callError
		refused  *rejection
		code     int32
		rejected = true
		errType  string
	)
	op := string(r.Operation)
	switch {
	case err == nil:
		code, rejected = 200, false
	case errors.As(err, &call):
		code, rejected, errType = call.code, !h.ignore, "calling_webhook_error"
	case errors.As(err, &refused):
		code, errType = refused.ErrStatus.Code, "no_error"
	default:
		errType = "apiserver_internal_error"
	}
	if rejected && !errors.Is(err, context.Canceled) {
		m.rejections.WithLabelValues(h.Name, h.step, op, errType, codeLabel(code)).Inc()
	}
	text := strconv.FormatBool(rejected)
	m.requests.WithLabelValues(h.Name, h.step, op, codeLabel(code), text).Inc()
	m.duration.WithLabelValues(h.Name, h.step, op, text).Observe(took.Seconds())
}

func (m *metrics) failedOpen(h *hook) { m.failOpen.WithLabelValues(h.Name, h.step).Inc() }

func (m *metrics) conditions(h *hook, r *admission.Request, took time.Duration, matched bool, err error) {
	const kind = "webhook"
	op := string(r.Operation)
	m.conditionSeconds.WithLabelValues(h.Name, kind, h.step, op).Observe(took.Seconds())
	switch {
	case err != nil:
		m.conditionErrors.WithLabelValues(h.Name, kind, h.step, op).Inc()
	case !matched:
		m.conditionExcluded.WithLabelValues(h.Name, kind, h.step, op).Inc()
	}
}
