package resourcequota

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// resolver finds the version in which a type is served.
type resolver struct {
	disco discovery.DiscoveryInterface

	mu    sync.Mutex
	known map[schema.GroupResource]schema.GroupVersionResource
}

func newResolver(d discovery.DiscoveryInterface) *resolver {
	return &resolver{disco: d, known: map[schema.GroupResource]schema.GroupVersionResource{}}
}

// resolve returns a NotFound error where no namespaced type of the name is served.
func (r *resolver) resolve(gr schema.GroupResource) (schema.GroupVersionResource, error) {
	r.mu.Lock()
	gvr, ok := r.known[gr]
	r.mu.Unlock()
	if ok {
		return gvr, nil
	}
	versions, err := r.versions(gr.Group)
	if err != nil {
		return gvr, err
	}
	for _, gv := range versions {
		list, err := r.disco.ServerResourcesForGroupVersion(gv)
		if err != nil {
			return gvr, err
		}
		if slices.ContainsFunc(list.APIResources, func(a metav1.APIResource) bool { return a.Name == gr.Resource && a.Namespaced }) {
			parsed, err := schema.ParseGroupVersion(gv)
			if err != nil {
				return gvr, err
			}
			gvr = parsed.WithResource(gr.Resource)
			r.mu.Lock()
			r.known[gr] = gvr
			r.mu.Unlock()
			return gvr, nil
		}
	}
	return gvr, apierrors.NewNotFound(gr, "")
}

// versions returns the versions of a group, the preferred one first.
func (r *resolver) versions(group string) ([]string, error) {
	if group == "" {
		return []string{"v1"}, nil
	}
	groups, err := r.disco.ServerGroups()
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range groups.Groups {
		g := &groups.Groups[i]
		if g.Name != group {
			continue
		}
		if v := g.PreferredVersion.GroupVersion; v != "" {
			out = append(out, v)
		}
		for _, v := range g.Versions {
			if !slices.Contains(out, v.GroupVersion) {
				out = append(out, v.GroupVersion)
			}
		}
	}
	return out, nil
}

func (r *resolver) forget(gr schema.GroupResource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, gr)
}

// change is what has become of an object that quotas may count.
type change int

const (
	// gone: the object, or what it holds, is free again.
	gone change = iota
	// changed: it may use more or less than before.
	changed
	// relisted: objects may have gone unseen.
	relisted
)

// monitors watch the types that quotas count, as long as some quota does.
type monitors struct {
	log    *slog.Logger
	meta   metadata.Interface
	types  *resolver
	shared map[schema.GroupResource]cache.SharedIndexInformer
	// notify is called for each change; the namespace is "" where objects of any may have
	// changed.
	notify func(gr schema.GroupResource, namespace string, what change)

	mu      sync.Mutex
	wanted  map[string][]schema.GroupResource // by the key of the quota
	running map[schema.GroupResource]func()   // stops it
	wg      sync.WaitGroup
}

// want says which types a quota counts; none where it is gone. A type that is not served is
// not watched: it is asked for again with the next count.
func (m *monitors) want(ctx context.Context, key string, types []schema.GroupResource) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(types) == 0 {
		delete(m.wanted, key)
	} else {
		m.wanted[key] = types
	}
	for gr, stop := range m.running {
		needed := false
		for _, list := range m.wanted {
			needed = needed || slices.Contains(list, gr)
		}
		if !needed {
			stop()
			delete(m.running, gr)
		}
	}
	for _, gr := range types {
		if m.running[gr] != nil || ctx.Err() != nil {
			continue
		}
		stop, err := m.start(ctx, gr)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("watching %s: %w", gr, err)
		}
		m.running[gr] = stop
	}
	return nil
}

func (m *monitors) start(ctx context.Context, gr schema.GroupResource) (stop func(), err error) {
	if informer := m.shared[gr]; informer != nil {
		return m.attach(informer, gr)
	}
	gvr, err := m.types.resolve(gr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	reflector := control.NewReflector(m.meta, gvr, "resourcequota/"+gr.String(), &feed{gr: gr, notify: m.notify})
	m.wg.Go(func() { reflector.RunWithContext(ctx) })
	return cancel, nil
}

// attach listens to an informer that other controllers need anyway.
func (m *monitors) attach(informer cache.SharedIndexInformer, gr schema.GroupResource) (func(), error) {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, obj any) {
			o, ok := obj.(metav1.Object)
			if !ok {
				return
			}
			if what, matters := compare(old, obj); matters {
				m.notify(gr, o.GetNamespace(), what)
			}
		},
		DeleteFunc: control.OnGone(func(o metav1.Object) { m.notify(gr, o.GetNamespace(), gone) }),
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = informer.RemoveEventHandler(registration) }, nil
}

// compare tells what the update of a trimmed object means for quotas.
func compare(old, obj any) (what change, matters bool) {
	was, okWas := old.(*v1.Pod)
	pod, ok := obj.(*v1.Pod)
	if !okWas || !ok {
		return changed, true
	}
	if was.UID != pod.UID || control.PodFinished(pod) != control.PodFinished(was) {
		return gone, true
	}
	// Generations after the first are of pods that are resized, or that get a deadline; what
	// becomes of it is in their status.
	return changed, pod.Generation > 1 && pod.ResourceVersion != was.ResourceVersion
}

// feed is the store of a reflector: it keeps nothing.
type feed struct {
	gr     schema.GroupResource
	notify func(gr schema.GroupResource, namespace string, what change)
}

func (f *feed) tell(obj any, what change) error {
	o, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%s: not an object: %T", f.gr, obj)
	}
	f.notify(f.gr, o.GetNamespace(), what)
	return nil
}

// Add satisfies cache.ReflectorStore. What is new has been charged.
func (f *feed) Add(any) error { return nil }

// Update satisfies cache.ReflectorStore. Where only the number counts, nothing has changed.
func (f *feed) Update(obj any) error {
	if quota.Typed(f.gr) == nil {
		return nil
	}
	return f.tell(obj, changed)
}

// Delete satisfies cache.ReflectorStore.
func (f *feed) Delete(obj any) error { return f.tell(obj, gone) }

// Replace satisfies cache.ReflectorStore.
func (f *feed) Replace([]any, string) error {
	f.notify(f.gr, "", relisted)
	return nil
}

// Resync satisfies cache.ReflectorStore; there is nothing to do.
func (f *feed) Resync() error { return nil }
