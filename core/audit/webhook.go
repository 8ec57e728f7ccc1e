package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/pintle-dev/pintle/core/internal/remote"
)

// WebhookConfig says where batches of events are sent. Zero values mean upstream's defaults,
// which are given.
type WebhookConfig struct {
	// Kubeconfig is a file that names the server.
	Kubeconfig string
	// Buffer is how many events may wait, 10,000, and BufferBytes how large they may be
	// together, 64 MiB, which upstream does not bound; what is more is lost.
	Buffer      int
	BufferBytes int64
	// MaxBatch is how many events are sent in one request, 400, and MaxBatchBytes how large
	// they may be together, 10 MiB; larger events are sent alone.
	MaxBatch      int
	MaxBatchBytes int64
	// MaxWait is how long an event waits for others, 30 s.
	MaxWait time.Duration
	// InitialBackoff is the first pause before a batch is sent again, 10 s.
	InitialBackoff time.Duration
	// Drain bounds how long what waits may take when the server ends, 10 s.
	Drain time.Duration
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

func (c *WebhookConfig) complete() {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	setBytes := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	setDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Buffer, 10000)
	set(&c.MaxBatch, 400)
	setBytes(&c.BufferBytes, 64<<20)
	setBytes(&c.MaxBatchBytes, 10<<20)
	setDuration(&c.MaxWait, 30*time.Second)
	setDuration(&c.InitialBackoff, 10*time.Second)
	setDuration(&c.Drain, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Throttling of batches; upstream's.
const (
	webhookQPS   = 10
	webhookBurst = 15
	tries        = 5
	// tryTimeout bounds one request, so that a server that does not answer is asked again.
	tryTimeout = 30 * time.Second
)

// Webhook is a Sink that sends lists of events.
type Webhook struct {
	cfg    WebhookConfig
	server *remote.Server
	queue  chan queued
	// bytes are those of all events in the queue.
	bytes atomic.Int64

	// next did not fit into the last batch; only Run knows it.
	next *queued
}

// queued is an event that waits.
type queued struct {
	event auditv1.Event
	size  int64
}

var _ Sink = (*Webhook)(nil)

// OpenWebhook reads the kubeconfig.
func OpenWebhook(cfg WebhookConfig) (*Webhook, error) {
	server, err := remote.Open(cfg.Kubeconfig, 0)
	if err != nil {
		return nil, fmt.Errorf("audit webhook: %w", err)
	}
	cfg.complete()
	return &Webhook{cfg: cfg, server: server, queue: make(chan queued, cfg.Buffer)}, nil
}

var errQueueFull = errors.New("audit webhook: too many events wait to be sent")

// headBytes is about the size of an event without objects.
const headBytes = 1 << 10

// Write implements Sink; it does not wait.
func (w *Webhook) Write(e *auditv1.Event) error {
	q := queued{snapshot(e), int64(headBytes + len(e.RequestURI) + objectBytes(e))}
	if all := w.bytes.Add(q.size); all > w.cfg.BufferBytes && all > q.size {
		w.bytes.Add(-q.size)
		return errQueueFull
	}
	select {
	case w.queue <- q:
		return nil
	default:
		w.bytes.Add(-q.size)
		return errQueueFull
	}
}

// snapshot is an event as it is now. Objects are not copied: a record gets others, but never
// changes those that it has.
func snapshot(e *auditv1.Event) auditv1.Event {
	out := *e
	out.Annotations = maps.Clone(e.Annotations)
	if e.ResponseStatus != nil {
		status := *e.ResponseStatus
		out.ResponseStatus = &status
	}
	if e.ObjectRef != nil {
		ref := *e.ObjectRef
		out.ObjectRef = &ref
	}
	return out
}

// Run implements Sink.
func (w *Webhook) Run(ctx context.Context) error {
	limit := flowcontrol.NewTokenBucketRateLimiter(webhookQPS, webhookBurst)
	defer limit.Stop()
	// All that is left when the server ends has this time together, not each batch.
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.cfg.Drain, cancel) })()
	for ctx.Err() == nil {
		b := w.collect(ctx)
		if len(b.events) > 0 {
			_ = limit.Wait(ctx) // it fails at the end, when nothing is worth waiting for
			w.post(ctx, last, b.events)
		}
	}
	for {
		b := w.begin()
		for w.more(&b, w.waiting) {
		}
		if len(b.events) == 0 {
			return nil
		}
		w.post(ctx, last, b.events)
	}
}

// batch is what is sent at once.
type batch struct {
	events []auditv1.Event
	bytes  int64
}

// begin is a batch with what did not fit into the last one.
func (w *Webhook) begin() batch {
	var b batch
	if w.next != nil {
		b.events, b.bytes = append(b.events, w.next.event), w.next.size
		w.next = nil
	}
	return b
}

// more adds the next event of those that take gives, and reports whether there is room for
// another one.
func (w *Webhook) more(b *batch, take func() (queued, bool)) bool {
	q, ok := take()
	if !ok {
		return false
	}
	w.bytes.Add(-q.size)
	if len(b.events) > 0 && b.bytes+q.size > w.cfg.MaxBatchBytes {
		w.next = &q
		return false
	}
	b.events, b.bytes = append(b.events, q.event), b.bytes+q.size
	return len(b.events) < w.cfg.MaxBatch
}

// waiting takes an event if there is one.
func (w *Webhook) waiting() (queued, bool) {
	select {
	case q := <-w.queue:
		return q, true
	default:
		return queued{}, false
	}
}

// collect waits for a batch to be full, or old enough.
func (w *Webhook) collect(ctx context.Context) batch {
	b := w.begin()
	var old <-chan time.Time // nobody waits yet
	take := func() (queued, bool) {
		if len(b.events) > 0 && old == nil {
			old = time.After(w.cfg.MaxWait)
		}
		select {
		case q := <-w.queue:
			return q, true
		case <-old:
		case <-ctx.Done():
		}
		return queued{}, false
	}
	for w.more(&b, take) {
	}
	return b
}

// post sends a batch, several times if need be: whatever the error is, the events are worth
// another try. A try that is under way when the server ends has the time that is left then;
// after it there is one more.
func (w *Webhook) post(ctx, last context.Context, events []auditv1.Event) {
	list := auditv1.EventList{
		TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: auditv1.SchemeGroupVersion.String()}, Items: events,
	}
	pause := wait.Backoff{Duration: w.cfg.InitialBackoff, Factor: 1.5, Jitter: 0.2, Steps: 5}
	for try := 1; ; try++ {
		ending := ctx.Err() != nil
		err := w.try(last, &list)
		if err == nil {
			return
		}
		if ending || try == tries {
			w.cfg.Logger.Error("audit events are lost", "number", len(events), "error", err)
			return
		}
		select {
		case <-time.After(pause.Step()):
		case <-ctx.Done():
		}
	}
}

func (w *Webhook) try(ctx context.Context, list *auditv1.EventList) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return w.server.Post(ctx, list, nil) //nolint:wrapcheck // it names the server
}
