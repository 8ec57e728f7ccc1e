package agent

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// runtimeCache is what the runtime has, by pod. It lists anew after every event and as a
// backstop from time to time, and tells the workers of pods for which something changed.
type runtimeCache struct {
	d       driver.Driver
	log     *slog.Logger
	changed func(uid types.UID)
	// listed is told which containers run, after every list.
	listed func(running func(id string) bool)
	// turned is called when the runtime stops to answer, and when it does again.
	turned func()

	// known is closed with the first list.
	known      chan struct{}
	knows      sync.Once
	refreshing sync.Mutex
	mu         sync.RWMutex
	pods       map[types.UID]*podRuntime
	runtime    string // its name, once it is known
}

type podRuntime struct {
	sandboxes  []driver.Sandbox
	containers []driver.Container
}

func newRuntimeCache(d driver.Driver, log *slog.Logger, changed func(types.UID), listed func(func(string) bool), turned func()) *runtimeCache {
	return &runtimeCache{
		d: d, log: log, changed: changed, listed: listed, turned: turned,
		known: make(chan struct{}), pods: map[types.UID]*podRuntime{},
	}
}

// wait returns true when it is known what the runtime has, and false with the context's end.
func (r *runtimeCache) wait(ctx context.Context) bool {
	select {
	case <-r.known:
		return true
	case <-ctx.Done():
		return false
	}
}

// containers returns a copy of what there is of a pod, oldest first.
func (r *runtimeCache) containers(uid types.UID) []driver.Container {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.pods[uid]; p != nil {
		return append([]driver.Container(nil), p.containers...)
	}
	return nil
}

// sandbox returns the newest sandbox of a pod.
func (r *runtimeCache) sandbox(uid types.UID) *driver.Sandbox {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.pods[uid]
	if p == nil || len(p.sandboxes) == 0 {
		return nil
	}
	s := p.sandboxes[len(p.sandboxes)-1]
	return &s
}

// name is what the runtime calls itself, empty until it is known.
func (r *runtimeCache) name() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.runtime
}

// ask asks the runtime for its name.
func (r *runtimeCache) ask(ctx context.Context) {
	version, err := r.d.Version(ctx)
	if name, _, ok := strings.Cut(version, "://"); ok && err == nil {
		r.mu.Lock()
		r.runtime = name
		r.mu.Unlock()
	}
}

// all lists the pods that the runtime knows.
func (r *runtimeCache) all() map[types.UID][]driver.Sandbox {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make(map[types.UID][]driver.Sandbox, len(r.pods))
	for uid, p := range r.pods {
		out[uid] = append([]driver.Sandbox(nil), p.sandboxes...)
	}
	return out
}

// refresh lists everything. When it returns, all that happened before the call is known.
func (r *runtimeCache) refresh(ctx context.Context) error {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	if r.name() == "" {
		r.ask(ctx)
	}
	sandboxes, err := r.d.ListSandboxes(ctx)
	if err != nil {
		return err
	}
	containers, err := r.d.ListContainers(ctx)
	if err != nil {
		return err
	}
	next := map[types.UID]*podRuntime{}
	pod := func(uid string) *podRuntime {
		p := next[types.UID(uid)]
		if p == nil {
			p = &podRuntime{}
			next[types.UID(uid)] = p
		}
		return p
	}
	for _, s := range sandboxes {
		p := pod(s.UID)
		p.sandboxes = append(p.sandboxes, s)
	}
	for _, c := range containers {
		p := pod(c.PodUID)
		p.containers = append(p.containers, c)
	}
	r.mu.Lock()
	old := r.pods
	r.pods = next
	r.mu.Unlock()
	r.knows.Do(func() { close(r.known) })
	alive := make(map[string]bool, len(containers))
	for i := range containers {
		alive[containers[i].ID] = containers[i].State == driver.ContainerRunning
	}
	r.listed(func(id string) bool { return alive[id] })
	for uid, p := range next {
		if !p.same(old[uid]) {
			r.changed(uid)
		}
	}
	for uid := range old {
		if next[uid] == nil {
			r.changed(uid)
		}
	}
	return nil
}

// same compares what a worker would act on.
func (p *podRuntime) same(q *podRuntime) bool {
	if q == nil || len(p.sandboxes) != len(q.sandboxes) || len(p.containers) != len(q.containers) {
		return false
	}
	for i := range p.sandboxes {
		if p.sandboxes[i].ID != q.sandboxes[i].ID || p.sandboxes[i].Ready != q.sandboxes[i].Ready {
			return false
		}
	}
	for i := range p.containers {
		if p.containers[i].ID != q.containers[i].ID || p.containers[i].State != q.containers[i].State {
			return false
		}
	}
	return true
}

// run follows the runtime's events until the context ends. What is known of pods stays so while
// the runtime does not answer.
func (r *runtimeCache) run(ctx context.Context, resync time.Duration) {
	away := false
	turn := func(now bool) {
		if away != now {
			away = now
			r.turned()
		}
	}
	for delay := 100 * time.Millisecond; ctx.Err() == nil; delay = min(2*delay, 5*time.Second) {
		sub, cancel := context.WithCancel(ctx)
		events, err := r.d.Events(sub)
		if err == nil {
			err = r.refresh(ctx)
		}
		if err == nil {
			delay = 50 * time.Millisecond
			turn(false)
			r.follow(ctx, events, resync)
		} else if ctx.Err() == nil {
			turn(true)
			r.log.Warn("the container runtime does not answer", "err", err)
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// follow returns when the stream of events breaks.
func (r *runtimeCache) follow(ctx context.Context, events <-chan driver.Event, resync time.Duration) {
	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			// Many events are one list.
			for len(events) > 0 {
				if _, ok := <-events; !ok {
					return
				}
			}
		case <-tick.C:
		}
		if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot list what the container runtime has", "err", err)
		}
	}
}
