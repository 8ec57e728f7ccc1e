package garbage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// rescan is how often it is looked which resources are served.
	rescan = 30 * time.Second
	// settle is how long after a change of a type's definition that is done.
	settle = 500 * time.Millisecond
)

// served is a resource that the API server has.
type served struct {
	resource   schema.GroupVersionResource
	namespaced bool
}

// monitors watch all resources whose objects can be deleted and feed the graph.
type monitors struct {
	log    *slog.Logger
	disco  discovery.DiscoveryInterface
	client metadata.Interface
	graph  *graph
	shared map[schema.GroupVersionResource]cache.SharedIndexInformer
	poke   chan struct{}
	// ready is closed after the first scan.
	ready chan struct{}
	once  sync.Once

	mu      sync.Mutex
	kinds   map[schema.GroupVersionKind]served
	running map[schema.GroupVersionResource]*monitor
}

// monitor watches one resource.
type monitor struct {
	kind   schema.GroupVersionKind
	stop   func()
	synced <-chan struct{}
}

func newMonitors(log *slog.Logger, disco discovery.DiscoveryInterface, client metadata.Interface, g *graph, shared map[schema.GroupVersionResource]cache.SharedIndexInformer) *monitors {
	return &monitors{
		log: log.With("controller", "garbagecollector"), disco: disco, client: client, graph: g, shared: shared,
		poke: make(chan struct{}, 1), ready: make(chan struct{}),
		kinds: map[schema.GroupVersionKind]served{}, running: map[schema.GroupVersionResource]*monitor{},
	}
}

// run keeps the monitors in line with what is served until ctx is cancelled.
func (m *monitors) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(rescan)
	defer ticker.Stop()
	for {
		if err := m.scan(ctx, &wg); err != nil {
			m.log.Warn("some resources can't be looked up; those known before stay watched", "error", err)
		}
		m.once.Do(func() { close(m.ready) })
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.poke:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		}
	}
}

// resource returns the resource of a kind.
func (m *monitors) resource(kind schema.GroupVersionKind) (served, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.kinds[kind]
	if !ok {
		select {
		case m.poke <- struct{}{}:
		default:
		}
	}
	return s, ok
}

// collectable reports whether objects of a resource can be watched and deleted. Events
// are left out: they have no owners, and there are too many of them.
func collectable(r control.Resource) bool {
	if r.Resource == "events" && (r.Group == "" || r.Group == "events.k8s.io") {
		return false
	}
	return slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch") && slices.Contains(r.Verbs, "delete")
}

// scan starts and stops monitors by what is served now.
func (m *monitors) scan(ctx context.Context, wg *sync.WaitGroup) error {
	all, err := control.Discover(m.disco)
	failed := map[schema.GroupVersion]bool{}
	var partial *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &partial) {
		for gv := range partial.Groups {
			failed[gv] = true
		}
	} else if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	watchable := map[schema.GroupVersionResource]schema.GroupVersionKind{}
	for _, r := range all {
		m.kinds[r.Kind] = served{resource: r.GroupVersionResource, namespaced: r.Namespaced}
		if r.Preferred && collectable(r) {
			watchable[r.GroupVersionResource] = r.Kind
		}
	}
	for r, running := range m.running {
		if _, ok := watchable[r]; !ok && !failed[r.GroupVersion()] && ctx.Err() == nil {
			running.stop()
			delete(m.running, r)
			delete(m.kinds, running.kind)
			m.graph.retain(running.kind, nil)
		}
	}
	for r, kind := range watchable {
		if m.running[r] == nil && ctx.Err() == nil {
			m.running[r] = m.start(ctx, wg, r, kind)
		}
	}
	return err
}

func (m *monitors) start(ctx context.Context, wg *sync.WaitGroup, r schema.GroupVersionResource, kind schema.GroupVersionKind) *monitor {
	if informer := m.shared[r]; informer != nil {
		if running, err := m.attach(informer, kind); err == nil {
			return running
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	sink := &feed{graph: m.graph, kind: kind, synced: make(chan struct{})}
	if r.Group == "apiextensions.k8s.io" {
		sink.changed = func() {
			select {
			case m.poke <- struct{}{}:
			default:
			}
		}
	}
	reflector := control.NewReflector(m.client, r, "garbagecollector/"+r.Resource, sink)
	wg.Go(func() { reflector.RunWithContext(ctx) })
	return &monitor{kind: kind, stop: cancel, synced: sink.synced}
}

// attach feeds the graph from an informer that others use too.
func (m *monitors) attach(informer cache.SharedIndexInformer, kind schema.GroupVersionKind) (*monitor, error) {
	set := func(obj any) {
		if o, ok := obj.(metav1.Object); ok {
			m.graph.set(kind, o)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: set,
		UpdateFunc: func(old, obj any) {
			if a, ok := old.(metav1.Object); ok && a.GetUID() != obj.(metav1.Object).GetUID() {
				m.graph.remove(a.GetUID())
			}
			set(obj)
		},
		DeleteFunc: control.OnGone(func(o metav1.Object) { m.graph.remove(o.GetUID()) }),
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", kind, err)
	}
	return &monitor{kind: kind, synced: registration.HasSyncedChecker().Done(), stop: func() {
		_ = informer.RemoveEventHandler(registration)
	}}, nil
}

// waitForSync waits until what is served has been listed once, no longer than limit.
func (m *monitors) waitForSync(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	wait := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		case <-timer.C:
			m.log.Warn("not all resources could be listed yet; collecting nevertheless")
		case <-ctx.Done():
		}
		return false
	}
	if !wait(m.ready) {
		return
	}
	m.mu.Lock()
	var pending []<-chan struct{}
	for _, r := range m.running {
		pending = append(pending, r.synced)
	}
	m.mu.Unlock()
	for _, c := range pending {
		if !wait(c) {
			return
		}
	}
}

// feed is the store of a reflector: it keeps nothing but the graph.
type feed struct {
	graph   *graph
	kind    schema.GroupVersionKind
	changed func() // nil, or called on each change after the first listing
	synced  chan struct{}
	once    sync.Once
}

// Add satisfies cache.ReflectorStore.
func (f *feed) Add(obj any) error { return f.set(obj) }

// Update satisfies cache.ReflectorStore.
func (f *feed) Update(obj any) error { return f.set(obj) }

func (f *feed) set(obj any) error {
	o, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%s: not an object: %T", f.kind, obj)
	}
	f.graph.set(f.kind, o)
	f.notify()
	return nil
}

// Delete satisfies cache.ReflectorStore.
func (f *feed) Delete(obj any) error {
	o, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%s: not an object: %T", f.kind, obj)
	}
	f.graph.remove(o.GetUID())
	f.notify()
	return nil
}

func (f *feed) notify() {
	if f.changed != nil {
		f.changed()
	}
}

// Replace satisfies cache.ReflectorStore.
func (f *feed) Replace(list []any, _ string) error {
	there := make(map[types.UID]bool, len(list))
	for _, obj := range list {
		if o, ok := obj.(metav1.Object); ok {
			there[o.GetUID()] = true
			f.graph.set(f.kind, o)
		}
	}
	f.graph.retain(f.kind, there)
	f.once.Do(func() { close(f.synced) })
	return nil
}

// Resync satisfies cache.ReflectorStore; there is nothing to do.
func (f *feed) Resync() error { return nil }
