package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/uuid"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/pintle-dev/pintle/core/auth"
)

// HeaderID is the header by which a client names a request's events, and finds them.
const HeaderID = "Audit-Id"

// Sink takes events. It must not keep the event it is given, which changes with the next
// stage.
type Sink interface {
	Write(e *auditv1.Event) error
	// Run does what the sink does by itself until ctx ends, and then whatever is left of it.
	Run(ctx context.Context) error
}

// Config of an Auditor.
type Config struct {
	Policy *Policy
	// Sinks get each event, in order.
	Sinks []Sink
	// Metrics gets counts of events and of those that were lost; nil means that nobody
	// counts.
	Metrics prometheus.Registerer
	// Logger; nil means slog.Default.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Auditor records requests.
type Auditor struct {
	policy *Policy
	sinks  []Sink
	log    *slog.Logger
	now    func() time.Time

	events   prometheus.Counter
	errors   prometheus.Counter
	rejected prometheus.Counter
	lost     lost
}

// New returns an Auditor.
func New(cfg Config) (*Auditor, error) {
	if cfg.Policy == nil || len(cfg.Sinks) == 0 {
		return nil, errors.New("audit: a policy and at least one sink are needed")
	}
	a := &Auditor{
		policy: cfg.Policy, sinks: cfg.Sinks, log: cfg.Logger, now: cfg.Now,
		events:   prometheus.NewCounter(prometheus.CounterOpts{Name: "apiserver_audit_event_total", Help: "Audit events made."}),
		errors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "apiserver_audit_error_total", Help: "Audit events that a sink could not take."}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Name: "apiserver_audit_requests_rejected_total", Help: "Requests refused since their audit event could not be stored."}),
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	if a.now == nil {
		a.now = time.Now
	}
	if cfg.Metrics != nil {
		for _, c := range []prometheus.Collector{a.events, a.errors, a.rejected} {
			if err := cfg.Metrics.Register(c); err != nil {
				return nil, fmt.Errorf("audit metrics: %w", err)
			}
		}
	}
	return a, nil
}

// Run runs the sinks until ctx ends and what they still hold has been delivered.
func (a *Auditor) Run(ctx context.Context) error {
	done := make(chan error, len(a.sinks))
	for _, s := range a.sinks {
		go func() { done <- s.Run(ctx) }()
	}
	var errs []error
	for range a.sinks {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// Begin makes the record of a request, at its stage RequestReceived. stream says that the
// answer lasts, as a watch does. nil means that the policy wants nothing of it. The
// request's ID, the client's or a new one, is set in the answer's header. An error means that
// a strict sink has not taken the event: the request must not be served.
func (a *Auditor) Begin(w http.ResponseWriter, r *http.Request, at auth.Attributes, start time.Time, stream bool) (*Record, error) {
	rec := a.record(w, r, &at, start, stream)
	if rec == nil {
		return nil, nil
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if err := rec.stage(auditv1.StageRequestReceived); err != nil {
		a.rejected.Inc()
		return rec, err
	}
	return rec, nil
}

// Unauthenticated makes the record of a request that is refused because nobody knows whose it
// is. Its only stage is ResponseStarted, as upstream's.
func (a *Auditor) Unauthenticated(w http.ResponseWriter, r *http.Request, at auth.Attributes, start time.Time) *Record {
	rec := a.record(w, r, &at, start, true)
	if rec != nil {
		rec.refused = true
	}
	return rec
}

// SetID sets a request's ID in the answer's header, unless it is there: the client's, or a new
// one. Clients find what logs say of an answer by it, audit log or none.
func SetID(w http.ResponseWriter, r *http.Request) string {
	h := w.Header()
	if set := h[HeaderID]; len(set) > 0 {
		return set[0]
	}
	id, ok := r.Header[HeaderID]
	if !ok || len(id) == 0 || id[0] == "" {
		id = []string{string(uuid.NewUUID())}
	}
	h[HeaderID] = id[:1:1]
	return id[0]
}

func (a *Auditor) record(w http.ResponseWriter, r *http.Request, at *auth.Attributes, start time.Time, stream bool) *Record {
	id := types.UID(SetID(w, r))
	d := a.policy.of(at)
	if d.level == auditv1.LevelNone {
		return nil
	}
	rec := &Record{auditor: a, decision: d, stream: stream, event: auditv1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: auditv1.SchemeGroupVersion.String()},
		Level:    d.level, AuditID: id, RequestURI: r.URL.RequestURI(), Verb: at.Verb, User: userInfo(at.User),
		UserAgent: userAgent(r), RequestReceivedTimestamp: received(start),
	}}
	for _, ip := range utilnet.SourceIPs(r) {
		rec.event.SourceIPs = append(rec.event.SourceIPs, ip.String())
	}
	if at.Resource != "" {
		rec.event.ObjectRef = &auditv1.ObjectReference{
			Namespace: at.Namespace, Name: at.Name, Resource: at.Resource, Subresource: at.Subresource,
			APIGroup: at.Group, APIVersion: at.Version,
		}
	}
	return rec
}

// send gives an event to the sinks. One that fails is no reason to keep the event from the
// others; the error is that of a strict one.
func (a *Auditor) send(e *auditv1.Event) (refused error) {
	a.events.Inc()
	for _, s := range a.sinks {
		err := s.Write(e)
		if err == nil {
			continue
		}
		a.errors.Inc()
		if n := a.lost.note(a.now()); n > 0 {
			a.log.Error("audit events are lost", "number", n, "auditID", e.AuditID, "stage", e.Stage, "error", err)
		}
		if _, ok := s.(strict); ok {
			refused = errors.Join(refused, err)
		}
	}
	return refused
}

// lost counts events between two lines of the log: where all are lost, there are as many as
// requests.
type lost struct {
	mu     sync.Mutex
	said   time.Time
	number int
}

// lostInterval is between two lines.
const lostInterval = time.Second

// note returns how many are to be told of now, or 0.
func (l *lost) note(now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	if now.Sub(l.said) < lostInterval {
		return 0
	}
	n := l.number
	l.said, l.number = now, 0
	return n
}
