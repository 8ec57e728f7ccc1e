package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
)

// Loop calls a function for keys that need attention, each key by one worker at a time,
// and again with back-off where it fails.
type Loop struct {
	name  string
	queue workqueue.TypedRateLimitingInterface[string]
	sync  func(ctx context.Context, key string) error
	log   *slog.Logger
}

// NewLoop returns a loop that does nothing until it runs.
func NewLoop(name string, log *slog.Logger, sync func(ctx context.Context, key string) error) *Loop {
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[string](5*time.Millisecond, 5*time.Minute)
	return &Loop{
		name:  name,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(limit, workqueue.TypedRateLimitingQueueConfig[string]{}),
		sync:  sync,
		log:   log.With("controller", name),
	}
}

// Add asks for attention to a key.
func (l *Loop) Add(key string) { l.queue.Add(key) }

// AddObject asks for attention to an object by its key; it suits event handlers.
func (l *Loop) AddObject(obj any) {
	if key, ok := Key(obj); ok {
		l.queue.Add(key)
	}
}

// AddAfter asks for attention to a key in a while.
func (l *Loop) AddAfter(key string, d time.Duration) { l.queue.AddAfter(key, d) }

// Len returns how many keys wait.
func (l *Loop) Len() int { return l.queue.Len() }

// Workers returns a function that runs the loop with a number of workers.
func (l *Loop) Workers(n int) func(ctx context.Context) {
	return func(ctx context.Context) { l.Run(ctx, n) }
}

// Run works until ctx is cancelled and returns when all workers have stopped.
func (l *Loop) Run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	wg.Wait()
}

func (l *Loop) next(ctx context.Context) bool {
	key, stop := l.queue.Get()
	if stop {
		return false
	}
	defer l.queue.Done(key)
	err := l.sync(ctx, key)
	switch {
	case err == nil:
		l.queue.Forget(key)
	case ctx.Err() != nil:
		return false
	default:
		// Conflicts are the normal way of losing a race.
		level := slog.LevelWarn
		if apierrors.IsConflict(err) {
			level = slog.LevelDebug
		}
		l.log.Log(ctx, level, "will be tried again", "key", key, "error", err)
		l.queue.AddRateLimited(key)
	}
	return true
}
