package scheduler

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/plugins/scheduler/fit"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/plugins/scheduler/queue"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// readers bounds how many pods are read at a time.
const readers = 16

// consulting is what there is of pods on which other plugins have a say. All but what run
// alone uses is under the engine's lock.
type consulting struct {
	// asked waits to be asked about; running says that somebody does.
	asked   []asked
	running bool
	// under way are pods between decision and binding, to be told when the pod is gone.
	underWay map[types.UID]context.CancelFunc

	asker  *extend.Asker
	mirror extend.Mirror
}

// abandon ends what is under way for a pod that is gone.
func (c *consulting) abandon(uid types.UID) {
	if cancel := c.underWay[uid]; cancel != nil {
		cancel()
	}
}

// asked is a pod about which extensions are asked.
type asked struct {
	item       *queue.Item
	pod        *model.Pod
	extensions []*extend.Extension
	ask        *extend.Ask
	// names are the nodes in ask.Slots when they were asked about.
	names []string
}

func (a *asked) usage() bool {
	return slices.ContainsFunc(a.extensions, (*extend.Extension).Usage)
}

// decodePod decodes a pod, and keeps the bytes of one that an extension may be asked about.
func (e *engine) decodePod(raw string) (*model.Pod, error) {
	p, err := model.DecodePod(raw)
	if err == nil && p.NodeName == "" && e.serves[p.SchedulerName] && e.extensions.Any() {
		p.Raw = strings.Clone(raw)
	}
	return p, err
}

// extensionsChanged takes the news that other plugins have a say than before.
func (e *engine) extensionsChanged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.Move(uint16(fit.Extension), nil)
	e.signal()
}

// consult starts asking about the pods that wait for that, unless somebody is at it.
func (e *engine) consult(ctx context.Context) {
	if e.extensions == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.consulting
	if c.running || len(c.asked) == 0 {
		return
	}
	c.running = true
	e.work.Go(func() { e.consultAll(ctx) })
}

// consultAll asks about batch after batch until no pod waits. Bindings and the decisions on
// other pods go on meanwhile.
func (e *engine) consultAll(ctx context.Context) {
	c := &e.consulting
	if c.asker == nil {
		c.asker = extend.NewAsker(e.log)
	}
	var carrying sync.WaitGroup // one batch is bound while the next is asked about
	defer carrying.Wait()
	for {
		batch := e.nextAsked(ctx)
		if batch == nil {
			return
		}
		batch = e.read(ctx, batch)
		batch, view := e.prepare(batch)
		if len(batch) == 0 {
			continue
		}
		c.asker.Keep(e.extensions)
		asks := make([]*extend.Ask, len(batch))
		for i := range batch {
			asks[i] = batch[i].ask
		}
		c.asker.Ask(ctx, view, asks)
		decided := e.conclude(batch)
		carrying.Wait()
		carrying.Go(func() { e.carryOut(ctx, decided) })
	}
}

// nextAsked takes the pods that are asked about next, those of high priority first: one where
// each placement changes the answers, else many. nil means that none is left.
func (e *engine) nextAsked(ctx context.Context) []asked {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.consulting
	if len(c.asked) == 0 || ctx.Err() != nil {
		c.running = false
		if ctx.Err() != nil && c.asker != nil {
			c.asker.Close()
		}
		return nil
	}
	slices.SortStableFunc(c.asked, func(a, b asked) int { return cmp.Compare(b.pod.Priority, a.pod.Priority) })
	n := 1
	for n < min(batch, len(c.asked)) && !c.asked[0].usage() && !c.asked[n].usage() {
		n++
	}
	out := slices.Clone(c.asked[:n])
	c.asked = slices.Delete(c.asked, 0, n)
	return out
}

// read gets the JSON of pods whose bytes were not kept.
func (e *engine) read(ctx context.Context, batch []asked) []asked {
	failed := make([]error, len(batch))
	var all sync.WaitGroup
	slots := make(chan struct{}, readers)
	for i := range batch {
		a := &batch[i]
		a.ask = &extend.Ask{Raw: []byte(a.pod.Raw), Extensions: a.extensions}
		if a.pod.Raw != "" {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			a.ask.Raw, failed[i] = e.binder.Read(ctx, a.pod)
		})
	}
	all.Wait()
	left := batch[:0]
	for i, a := range batch {
		if failed[i] == nil {
			left = append(left, a)
			continue
		}
		e.mu.Lock()
		if apierrors.IsNotFound(failed[i]) {
			e.queue.Delete(a.pod.UID) // the watch will say so too
		} else {
			e.queue.Retry(a.item)
			e.signal()
		}
		e.mu.Unlock()
	}
	return left
}

// prepare finds the nodes that are asked about. Pods that fit nowhere anyway are refused.
func (e *engine) prepare(batch []asked) ([]asked, remote.View) {
	e.mu.Lock()
	defer e.mu.Unlock()
	left, usage := batch[:0], false
	for _, a := range batch {
		if !e.queue.Holds(a.item) {
			continue
		}
		candidates, err := e.chooser.Candidates(a.pod)
		if err != nil {
			e.refuse(a.item, err)
			continue
		}
		a.ask.Slots, a.names = make([]uint32, len(candidates)), make([]string, len(candidates))
		for i, c := range candidates {
			a.ask.Slots[i] = uint32(c.Slot)
			a.names[i] = e.cache.Slots()[c.Slot].Name
		}
		usage = usage || a.usage()
		left = append(left, a)
	}
	return left, e.consulting.mirror.Update(e.cache, usage)
}

// conclude chooses nodes by what was answered and what is known now.
func (e *engine) conclude(batch []asked) []decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.signal()
	var decided []decision
	for i := range batch {
		a := &batch[i]
		if !e.queue.Holds(a.item) {
			continue
		}
		if f := a.ask.Failure; f != nil {
			e.failed(a.item, f)
			continue
		}
		candidates, err := e.chooser.Candidates(a.pod)
		if err != nil {
			e.refuse(a.item, err)
			continue
		}
		node, refused, unasked := e.best(a, candidates)
		switch {
		case node != "":
			e.cache.Assume(a.pod.On(node))
			decided = append(decided, e.withClaims(decision{item: a.item, pod: a.pod, node: node, steps: steps(a.extensions), raw: a.ask.Raw}))
		case unasked:
			e.consulting.asked = append(e.consulting.asked, asked{item: a.item, pod: a.pod, extensions: a.extensions})
		default:
			e.refuse(a.item, e.chooser.Explain(a.pod, refused))
		}
	}
	return decided
}

// best returns the best of the nodes that fit and were not refused. Where there is none, it
// counts the refusals, and reports whether there are nodes about which nobody was asked.
func (e *engine) best(a *asked, candidates []fit.Candidate) (node string, refused map[string]int, unasked bool) {
	var bestScore int64
	at := 0
	refused = map[string]int{}
	for _, c := range candidates {
		for at < len(a.ask.Slots) && int(a.ask.Slots[at]) < c.Slot {
			at++
		}
		n := e.cache.Slots()[c.Slot]
		if at == len(a.ask.Slots) || int(a.ask.Slots[at]) != c.Slot || a.names[at] != n.Name {
			unasked = true
			continue
		}
		if reason := a.ask.Refused[at]; reason != "" {
			refused[reason]++
			continue
		}
		if score := c.Score + a.ask.Points[at]*fit.PointsPerWeight; node == "" || score > bestScore {
			node, bestScore = n.Name, score
		}
	}
	return node, refused, unasked
}

// failed puts a pod aside on which an extension should have a say that could not be asked.
// Called with the lock held.
func (e *engine) failed(item *queue.Item, f *extend.Failure) {
	if f.Away {
		e.queue.Wait(item, uint16(fit.Extension))
	} else {
		e.queue.Retry(item)
	}
	e.binder.Refuse(item.Pod, v1.PodReasonSchedulerError, f.Error())
}
