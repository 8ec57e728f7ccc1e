package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Buffer is how many events may wait, 10,000; what is more is lost.
	Buffer int
	// MaxBatch is how many events are sent in one request, 400.
	MaxBatch int
	// MaxWait is how long an event waits for others, 30 s.
	MaxWait time.Duration
	// InitialBackoff is the first pause before a batch is sent again, 10 s.
	InitialBackoff time.Duration
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Throttling of batches; upstream's.
const (
	webhookQPS   = 10
	webhookBurst = 15
	// drain bounds how long the last batches may take when the server ends.
	drain = 10 * time.Second
)

// Webhook is a Sink that sends lists of events.
type Webhook struct {
	cfg    WebhookConfig
	server *remote.Server
	queue  chan auditv1.Event
	log    *slog.Logger
}

var _ Sink = (*Webhook)(nil)

// OpenWebhook reads the kubeconfig.
func OpenWebhook(cfg WebhookConfig) (*Webhook, error) {
	server, err := remote.Open(cfg.Kubeconfig, 0)
	if err != nil {
		return nil, fmt.Errorf("audit webhook: %w", err)
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = 10000
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = 400
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 30 * time.Second
	}
	if cfg.InitialBackoff == 0 {
		cfg.InitialBackoff = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Webhook{cfg: cfg, server: server, queue: make(chan auditv1.Event, cfg.Buffer), log: cfg.Logger}, nil
}

var errQueueFull = errors.New("audit webhook: too many events wait to be sent")

// Write implements Sink; it does not wait.
func (w *Webhook) Write(e *auditv1.Event) error {
	select {
	case w.queue <- *e.DeepCopy():
		return nil
	default:
		return errQueueFull
	}
}

// Run implements Sink.
func (w *Webhook) Run(ctx context.Context) error {
	limit := flowcontrol.NewTokenBucketRateLimiter(webhookQPS, webhookBurst)
	defer limit.Stop()
	for ctx.Err() == nil {
		if batch := w.collect(ctx); len(batch) > 0 {
			if limit.Wait(ctx) != nil {
				w.post(ctx, batch) // ending: post gives it its last chance
				break
			}
			w.post(ctx, batch)
		}
	}
	for {
		batch := w.waiting(nil)
		if len(batch) == 0 {
			return nil
		}
		w.post(ctx, batch)
	}
}

// collect waits for a batch to be full, or old enough.
func (w *Webhook) collect(ctx context.Context) []auditv1.Event {
	var batch []auditv1.Event
	select {
	case e := <-w.queue:
		batch = append(batch, e)
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(w.cfg.MaxWait)
	defer timer.Stop()
	for len(batch) < w.cfg.MaxBatch {
		select {
		case e := <-w.queue:
			batch = append(batch, e)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return w.waiting(batch)
		}
	}
	return batch
}

// waiting adds what is in the queue, without waiting.
func (w *Webhook) waiting(batch []auditv1.Event) []auditv1.Event {
	for len(batch) < w.cfg.MaxBatch {
		select {
		case e := <-w.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// post sends a batch, several times if need be: whatever the error is, the events are worth
// another try.
func (w *Webhook) post(ctx context.Context, batch []auditv1.Event) {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
	}
	list := auditv1.EventList{
		TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: auditv1.SchemeGroupVersion.String()}, Items: batch,
	}
	pause := wait.Backoff{Duration: w.cfg.InitialBackoff, Factor: 1.5, Jitter: 0.2, Steps: 5}
	if err := w.server.PostRetry(ctx, pause, &list, nil, func(error) bool { return true }); err != nil {
		w.log.Error("audit events are lost", "number", len(batch), "error", err)
	}
}
