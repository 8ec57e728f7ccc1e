package customresources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/crdv1"
	"github.com/pintle-dev/pintle/crd/registry"
)

// Store is what the controller asks of the store; *store.Store implements it.
type Store interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
	Write(ctx context.Context, w store.Write) (store.Object, error)
}

// Purger deletes the objects of a type; *apiserver.Server implements it.
type Purger interface {
	Purge(ctx context.Context, gvr schema.GroupVersionResource, by string) (remaining int, err error)
}

// Config is what a [Controller] is made of.
type Config struct {
	Store    Store
	Registry *registry.Registry
	Purger   Purger
	// Leading says whether this server may write; nil means that it may. All servers
	// register types, one sets conditions.
	Leading func() bool
	// Logger; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Controller makes definitions take effect.
type Controller struct {
	cfg    Config
	log    *slog.Logger
	synced atomic.Bool
	// registered are the definitions this controller has registered, by object name.
	registered map[string]registration
}

// registration remembers which state of a definition is registered.
type registration struct {
	generation int64
	uid        string
	gr         schema.GroupResource
	// terminating definitions are about to go.
	terminating bool
}

// New makes a controller.
func New(cfg Config) *Controller {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Leading == nil {
		cfg.Leading = func() bool { return true }
	}
	return &Controller{cfg: cfg, log: cfg.Logger.With("component", "customresources"), registered: map[string]registration{}}
}

// Synced is a readiness check: the definitions in the store are registered.
func (c *Controller) Synced(context.Context) error {
	if !c.synced.Load() {
		return errors.New("the stored CustomResourceDefinitions are not registered yet")
	}
	return nil
}

var prefix = store.Key(registry.Bucket(crdv1.Definition()) + "/")

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// recheck is how often definitions are looked at that wait for something else: for
	// names to become free, or for their objects to go.
	recheck = time.Second
)

// Run works until ctx is cancelled. It survives errors of the store by beginning again.
func (c *Controller) Run(ctx context.Context) error {
	backoff := firstBackoff
	for {
		started := time.Now()
		err := c.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return nil //nolint:nilerr // it was told to stop, or the store was
		}
		c.log.Warn("begins again", "error", err)
		if time.Since(started) > maxBackoff {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// follow registers what is stored and then what changes.
func (c *Controller) follow(ctx context.Context) error {
	snap, err := c.list(ctx)
	if err != nil {
		return err
	}
	waiting := c.reconcileAll(ctx, snap.Objects)
	c.synced.Store(true)
	w, err := c.cfg.Store.Watch(ctx, prefix, snap.Revision)
	if err != nil {
		return fmt.Errorf("watch definitions: %w", err)
	}
	defer w.Close()
	for {
		events, err := c.next(ctx, w, waiting)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			if snap, err = c.list(ctx); err != nil {
				return err
			}
			waiting = c.reconcileAll(ctx, snap.Objects)
			continue
		}
		var changed []store.Object
		for _, e := range events {
			if e.Type == store.Deleted {
				c.reconcileAll(ctx, changed)
				changed = nil
				c.forget(e.Data)
				waiting = true // names may have become free
				continue
			}
			changed = append(changed, store.Object{Key: e.Key, Revision: e.Revision, Data: e.Data})
		}
		waiting = c.reconcileAll(ctx, changed) || waiting
	}
}

func (c *Controller) list(ctx context.Context) (store.Snapshot, error) {
	snap, err := c.cfg.Store.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return snap, fmt.Errorf("list definitions: %w", err)
	}
	return snap, nil
}

// next returns events, or none where it is time to look at those that wait.
func (c *Controller) next(ctx context.Context, w *store.Watcher, waiting bool) ([]*store.Event, error) {
	wait := ctx
	if waiting {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, recheck)
		defer cancel()
	}
	events, err := w.Next(wait)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("watch definitions: %w", err)
	}
	return events, nil
}

// together is how many writes are under way at once: the store makes one of them.
const together = 32

// reconcileAll reports whether some definition waits for something. What is to be written
// is written together.
func (c *Controller) reconcileAll(ctx context.Context, objects []store.Object) (waiting bool) {
	var wg sync.WaitGroup
	var again atomic.Bool
	slots := make(chan struct{}, together)
	for _, o := range objects {
		w, waits := c.reconcile(ctx, o)
		waiting = waiting || waits
		if w == nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if c.failed(ctx, w.Key, c.commit(ctx, *w)) {
				again.Store(true)
			}
		})
	}
	wg.Wait()
	return waiting || again.Load()
}
