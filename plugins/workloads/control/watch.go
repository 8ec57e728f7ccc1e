package control

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// Handlers are informers with who is told of their events: nil where only their caches
// are read.
type Handlers map[cache.SharedIndexInformer]cache.ResourceEventHandler

// Watches are what a controller must have seen before it works. The zero value is none.
type Watches struct {
	synced []cache.InformerSynced
}

// Add has handlers told of the events of their informers. what says for an error what is
// watched for, such as "the Job controller".
func (w *Watches) Add(what string, handlers Handlers) error {
	for informer, handler := range handlers {
		if handler == nil {
			w.synced = append(w.synced, informer.HasSynced)
			continue
		}
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("watch for %s: %w", what, err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	return nil
}

// Run waits until the first listings were handled and then does all the work at once. It
// returns when that has ended, which it must when ctx is cancelled.
func (w *Watches) Run(ctx context.Context, work func(ctx context.Context), more ...func(ctx context.Context)) {
	if !cache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return
	}
	var wg sync.WaitGroup
	for _, f := range more {
		wg.Go(func() { f(ctx) })
	}
	work(ctx)
	wg.Wait()
}

// Seen returns a handler that calls f with objects that are new or have changed.
func Seen[T any](f func(obj T)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { f(obj.(T)) },
		UpdateFunc: func(_, obj any) { f(obj.(T)) },
	}
}

// Touched returns a handler that calls f with objects that are new, have changed or are
// gone, these perhaps as tombstones.
func Touched(f func(obj any)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{AddFunc: f, UpdateFunc: func(_, obj any) { f(obj) }, DeleteFunc: f}
}

// OnGone makes of f the DeleteFunc of a handler, taking objects out of tombstones.
func OnGone[T any](f func(obj T)) func(obj any) {
	return func(obj any) {
		if t, ok := Gone[T](obj); ok {
			f(t)
		}
	}
}
