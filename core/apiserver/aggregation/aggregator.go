package aggregation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
)

// Store is what the aggregator asks of the store; *store.Store implements it.
type Store interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
	Write(ctx context.Context, w store.Write) (store.Object, error)
}

// Types are the types that this server serves; *registry.Registry implements it.
type Types interface {
	Snapshot() *registry.Snapshot
	Subscribe() (changed <-chan struct{}, cancel func())
}

// Config is what an [Aggregator] is made of.
type Config struct {
	Store Store
	Types Types
	// Priority says where a group version that is served here stands in discovery.
	Priority func(schema.GroupVersion) Priority
	// ClientCertificate is shown to extension API servers. It is called when an APIService
	// names the first of them; nil shows none.
	ClientCertificate func() (tls.Certificate, error)
	// Synced reports whether Types has all types that objects in the store define, before
	// which no APIService is missed or too many. nil means at once.
	Synced func(context.Context) error
	// Leading says whether this server may write; nil means that it may.
	Leading func() bool
	// Logger; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// CheckInterval is how often a server that is well is asked, 30 s; one that is not is
	// asked more often.
	CheckInterval time.Duration
}

// Aggregator serves what other servers do. Without an APIService that names one, a request
// costs it one atomic load.
type Aggregator struct {
	cfg      Config
	log      *slog.Logger
	resolver *backend.Resolver

	// routes are the group versions that other servers serve; nil where there are none.
	routes atomic.Pointer[map[schema.GroupVersion]*remote]
	// discovery is what the documents of this server show of all.
	discovery atomic.Pointer[Discovery]

	// mu guards what the remotes' goroutines and the loop share.
	mu       sync.Mutex
	services map[string]*entry
	// plugins are the group versions that plugins serve on this server; offered says that
	// they have changed.
	plugins map[schema.GroupVersion]*offer
	offered chan struct{}

	// seen are the group versions that were served here at some time since the start.
	seen       map[schema.GroupVersion]bool
	generation uint64
	wanted     map[schema.GroupVersion]wish
	started    time.Time

	certificate func() (tls.Certificate, error)
}

// New returns an Aggregator; it knows nothing before [Aggregator.Run].
func New(cfg Config) *Aggregator {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Leading == nil {
		cfg.Leading = func() bool { return true }
	}
	if cfg.CheckInterval == 0 {
		cfg.CheckInterval = 30 * time.Second
	}
	a := &Aggregator{
		cfg: cfg, log: cfg.Logger.With("component", "aggregation"), resolver: backend.NewResolver(cfg.Store),
		services: map[string]*entry{}, seen: map[schema.GroupVersion]bool{},
		plugins: map[schema.GroupVersion]*offer{}, offered: make(chan struct{}, 1),
	}
	if cfg.ClientCertificate != nil {
		a.certificate = sync.OnceValues(cfg.ClientCertificate)
	}
	return a
}

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// retry is how soon writes that failed are tried again.
	retry = time.Second
	// settle is how long after a change of the types their APIServices follow.
	settle = 50 * time.Millisecond
	// grace is how long an APIService is kept whose type nobody has registered since the
	// start: plugins register theirs when they are up.
	grace = time.Minute
)

// Run works until ctx is cancelled. It survives errors of the store by beginning again.
func (a *Aggregator) Run(ctx context.Context) error {
	backoff := firstBackoff
	a.started = a.cfg.Now()
	changed, cancel := a.cfg.Types.Subscribe()
	defer cancel()
	for {
		err := a.follow(ctx, changed)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return nil // it was told to stop, or the store was
		}
		a.log.Warn("begins again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// follow takes in what is stored and then what changes.
func (a *Aggregator) follow(ctx context.Context, changed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx) // ends the remotes' goroutines
	defer cancel()
	snap, err := a.cfg.Store.List(ctx, bucket, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list APIServices: %w", err)
	}
	a.reset()
	for _, o := range snap.Objects {
		a.take(ctx, o)
	}
	a.publish()
	w, err := a.cfg.Store.Watch(ctx, bucket, snap.Revision)
	if err != nil {
		return fmt.Errorf("watch APIServices: %w", err)
	}
	defer w.Close()
	for {
		wait := a.reconcileLocal(ctx)
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		ready := w.Ready()
		events, err := w.Poll(ctx)
		if err != nil {
			return fmt.Errorf("watch APIServices: %w", err)
		}
		if len(events) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ready:
			case <-a.offered:
				a.adopt(ctx)
			case <-changed:
				// Types often come in great numbers.
				select {
				case <-ctx.Done():
				case <-time.After(settle):
				}
			case <-timer:
			}
			continue
		}
		for _, e := range events {
			if e.Type == store.Deleted {
				a.drop(e.Key)
				continue
			}
			a.take(ctx, store.Object{Key: e.Key, Revision: e.Revision, Data: e.Data})
		}
		a.publish()
	}
}

// reset forgets all that was taken in.
func (a *Aggregator) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, e := range a.services {
		e.remote.end()
		delete(a.services, name)
	}
}

func (a *Aggregator) drop(k store.Key) {
	name := string(k[len(bucket)+1:])
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.services[name]; e != nil {
		e.remote.end()
		delete(a.services, name)
	}
}

// take takes in one stored APIService.
func (a *Aggregator) take(ctx context.Context, so store.Object) {
	o, err := decode(so.Data)
	if err != nil {
		a.log.Warn("an APIService has no effect", "key", string(so.Key), "error", err)
		return
	}
	e := &entry{
		gv:       schema.GroupVersion{Group: o.Spec.Group, Version: o.Spec.Version},
		priority: Priority{o.Spec.GroupPriorityMinimum, o.Spec.VersionPriority},
		managed:  o.Metadata.Labels[managedLabel], uid: o.Metadata.UID, revision: so.Revision,
		deleting: o.Metadata.DeletionTimestamp != nil,
		name:     o.Metadata.Name, service: o.Spec.Service != nil, plugin: o.Metadata.Labels[pluginLabel],
	}
	e.condition = o.available()
	a.mu.Lock()
	defer a.mu.Unlock()
	var before *remote
	if old := a.services[e.name]; old != nil {
		if old.uid == e.uid {
			before = old.remote
		} else {
			old.remote.end()
		}
	}
	a.services[e.name] = e
	switch {
	case !e.service:
		e.localSet, e.condition = e.condition.same(local), condition{}
		e.remote = a.pluginRemote(ctx, e, before)
	case before.serves(o):
		e.remote = before
	default:
		before.end()
		e.remote = a.newRemote(ctx, o)
	}
}

// publish makes what was taken in visible to requests.
func (a *Aggregator) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	routes := map[schema.GroupVersion]*remote{}
	d := &Discovery{Priorities: make(map[schema.GroupVersion]Priority, len(a.services))}
	for _, e := range a.services {
		d.Priorities[e.gv] = e.priority
		if e.remote == nil {
			continue
		}
		e.remote.available.Store(e.condition.Status == "True" && e.service || e.remote.well.Load())
		routes[e.gv] = e.remote
		d.Remote = append(d.Remote, e.remote.document())
	}
	d.sort()
	if len(routes) == 0 {
		a.routes.Store(nil)
	} else {
		a.routes.Store(&routes)
	}
	if old := a.discovery.Load(); old == nil || !old.equal(d) {
		a.discovery.Store(d)
	}
}
