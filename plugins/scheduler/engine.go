package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/plugins/scheduler/fit"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/plugins/scheduler/queue"
)

// batch is how many pods are decided on while the snapshot is locked.
const batch = 64

// binder carries out decisions. Calls come from many goroutines at a time.
type binder interface {
	// Bind binds a pod to a node and waits for the answer.
	Bind(ctx context.Context, pod *model.Pod, node string) error
	// Bound records that a binding stands that another made. It does not block on the network.
	Bound(pod *model.Pod, node string)
	// Refuse records that a pod was not scheduled, with the reason of its condition. It does
	// not block on the network.
	Refuse(pod *model.Pod, reason, message string)
	// SelectNode writes into a claim, at a version of it, for which node its volume is to be.
	SelectNode(ctx context.Context, namespace, name, version, node string) error
	// Read returns the JSON of a pod as it is now.
	Read(ctx context.Context, pod *model.Pod) ([]byte, error)
}

// engine keeps the snapshot and the queue from deltas, and decides.
type engine struct {
	serves map[string]bool
	binder binder
	log    *slog.Logger
	// inFlight bounds the bindings under way.
	inFlight chan struct{}
	wake     chan struct{}
	// extensions are plugins that have a say, nil where there can be none.
	extensions *extend.Set
	// work is what goes on beside run.
	work sync.WaitGroup

	mu      sync.Mutex
	cache   *cache.Cache
	queue   *queue.Queue
	chooser *fit.Chooser
	// known are the pods and the names of nodes and namespaces as last delivered.
	pods       map[types.UID]*model.Pod
	nodes      map[string]types.UID
	namespaces map[string]bool
	consulting consulting
	claims     claims
}

func newEngine(s Settings, b binder, log *slog.Logger) *engine {
	snapshot := cache.New()
	e := &engine{
		serves:     map[string]bool{},
		binder:     b,
		log:        log,
		inFlight:   make(chan struct{}, s.BindConcurrency),
		wake:       make(chan struct{}, 1),
		cache:      snapshot,
		queue:      queue.New(s.initialBackoff(), s.maxBackoff(), time.Now),
		chooser:    fit.NewChooser(snapshot, s.PercentageOfNodesToScore),
		pods:       map[types.UID]*model.Pod{},
		nodes:      map[string]types.UID{},
		namespaces: map[string]bool{},
		claims:     newClaims(),
	}
	e.chooser.ConsiderVolumes(e.volumesOf)
	for _, name := range s.SchedulerNames {
		e.serves[name] = true
	}
	return e
}

// run decides until ctx is cancelled, then waits for the bindings under way.
func (e *engine) run(ctx context.Context) {
	defer e.work.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		decided, next := e.decide()
		e.carryOut(ctx, decided)
		e.consult(ctx)
		if len(decided) > 0 || next.IsZero() && e.pending() {
			continue
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = max(time.Until(next), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-e.wake:
		case <-timer.C:
		}
	}
}

// carryOut binds pods, many at a time. It returns when all bindings are under way.
func (e *engine) carryOut(ctx context.Context, decided []decision) {
	for _, d := range decided {
		if len(d.steps) > 0 || len(d.claims) > 0 {
			e.work.Go(func() { e.carryOutWith(ctx, d) })
			continue
		}
		select {
		case e.inFlight <- struct{}{}:
		case <-ctx.Done():
			return
		}
		e.work.Go(func() {
			defer func() { <-e.inFlight }()
			e.bind(ctx, d)
		})
	}
}

// decision is a pod and the node chosen for it.
type decision struct {
	item *queue.Item
	pod  *model.Pod
	node string
	// steps are the extensions that have a part in what comes now, and raw the pod's JSON for
	// them.
	steps []*extend.Extension
	raw   []byte
	// claims of the pod are those whose volumes are made for the node; revoked is how often that
	// had been given up for each.
	claims  []string
	revoked map[string]int
}

// decide takes a batch of pods from the queue. It returns those for which it found a
// node and when to look again; the zero time means that pods may be left or none waits.
func (e *engine) decide() ([]decision, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.queue.Flush()
	var decided []decision
	for range batch {
		item := e.queue.Pop()
		if item == nil {
			break
		}
		pod := item.Pod
		if len(pod.Claims) > 0 && e.claims.await() {
			e.queue.Wait(item, uint16(fit.Volumes))
			continue
		}
		if extensions := e.extensions.For(pod); extensions != nil {
			e.consulting.asked = append(e.consulting.asked, asked{item: item, pod: pod, extensions: extensions})
			continue
		}
		node, err := e.chooser.Choose(pod)
		if err != nil {
			e.refuse(item, err)
			continue
		}
		e.cache.Assume(pod.On(node))
		decided = append(decided, e.withClaims(decision{item: item, pod: pod, node: node}))
	}
	if now, _, _ := e.queue.Len(); now > 0 {
		return decided, time.Time{}
	}
	// What failed in this batch is due at a time of its own.
	return decided, earliest(next, e.queue.Flush())
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func (e *engine) pending() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, _, _ := e.queue.Len()
	return now > 0
}

// refuse puts a pod aside that fits nowhere. Called with the lock held, so that no event
// falls between the decision and the waiting.
func (e *engine) refuse(item *queue.Item, err error) {
	pod := item.Pod
	var why *fit.Error
	if errors.As(err, &why) {
		e.queue.Wait(item, uint16(why.Cause))
	} else {
		// The pod itself is at fault: only a change of it helps.
		e.queue.Wait(item, 0)
	}
	e.binder.Refuse(pod, v1.PodReasonUnschedulable, err.Error())
}

func (e *engine) bind(ctx context.Context, d decision) {
	e.bound(d, e.binder.Bind(ctx, d.pod, d.node))
}

// bound takes the outcome of a binding.
func (e *engine) bound(d decision, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.queue.Delete(d.pod.UID)
		return
	}
	if !e.cache.Forget(d.pod.UID) {
		// The watch was faster than the answer, and tells more.
		e.queue.Delete(d.pod.UID)
		return
	}
	e.log.Warn("binding failed", "pod", d.pod.Namespace+"/"+d.pod.Name, "node", d.node, "error", err)
	e.queue.Retry(d.item)
	e.freed(e.cache.Node(d.node))
	e.signal()
}

// signal wakes run. It never blocks.
func (e *engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// freed tells the pods that wait for room that there is more on a node.
func (e *engine) freed(n *cache.NodeInfo) {
	if n == nil || n.Node == nil {
		return
	}
	e.queue.Move(uint16(fit.Resources), func(p *model.Pod) bool { return fit.HasRoom(p, n) })
	e.queue.Move(uint16(fit.Ports|fit.PodAffinity|fit.Spread|fit.Extension|fit.VolumeInUse), nil)
}
