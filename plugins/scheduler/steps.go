package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// bindTimeout bounds a binding that an extension makes.
const bindTimeout = 30 * time.Second

// steps are the extensions with a part in what comes after the choice of a node.
func steps(extensions []*extend.Extension) []*extend.Extension {
	var out []*extend.Extension
	for _, e := range extensions {
		if e.Can(scheduling.CanReserve) || e.Can(scheduling.CanPermit) || e.Can(scheduling.CanBind) {
			out = append(out, e)
		}
	}
	return out
}

// carryOutWith goes the way from a decision to a binding with extensions: all reserve, all
// permit, and one or the scheduler binds. Where one says no, all is taken back.
func (e *engine) carryOutWith(ctx context.Context, d decision) {
	podCtx, cancel := context.WithCancel(ctx)
	defer e.enter(d, cancel)()
	placed := remote.Placed{Pod: d.raw, Node: d.node}
	reserved, err := reserve(podCtx, d, placed)
	if err == nil {
		err = permit(podCtx, d, placed)
	}
	if err == nil {
		err = e.bindClaims(podCtx, d)
	}
	if err != nil {
		unreserve(ctx, reserved, placed)
		e.takeBack(d, err)
		return
	}
	select {
	case e.inFlight <- struct{}{}:
	case <-podCtx.Done():
		unreserve(ctx, reserved, placed)
		e.takeBack(d, podCtx.Err())
		return
	}
	defer func() { <-e.inFlight }()
	err = e.bindWith(podCtx, d, placed)
	if err != nil {
		unreserve(ctx, reserved, placed)
	}
	e.bound(d, err)
}

// enter makes it known that a pod is under way, until the function is called that it returns.
func (e *engine) enter(d decision, cancel context.CancelFunc) (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.consulting
	if c.underWay == nil {
		c.underWay = map[types.UID]context.CancelFunc{}
	}
	c.underWay[d.pod.UID] = cancel
	if !e.queue.Holds(d.item) {
		cancel() // it went before it was known
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(c.underWay, d.pod.UID)
		cancel()
	}
}

// reserve makes all extensions reserve. It returns those that have to unreserve.
func reserve(ctx context.Context, d decision, placed remote.Placed) (reserved []*extend.Extension, _ error) {
	for _, x := range d.steps {
		if !x.Can(scheduling.CanReserve) {
			continue
		}
		reserved = append(reserved, x) // also where it fails: nobody knows how far it came
		stepCtx, cancel := context.WithTimeout(ctx, x.Timeout)
		err := x.Part.Reserve(stepCtx, placed)
		cancel()
		if err = judge(ctx, x, err); err != nil {
			return reserved, err
		}
	}
	return reserved, nil
}

// judge lets pass what an extension's failure policy does not mind.
func judge(ctx context.Context, x *extend.Extension, err error) error {
	var refused *scheduling.Refused
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &refused):
		return err
	case x.Policy == extend.Ignore:
		return nil
	default:
		return &extend.Failure{Plugin: x.Name, Err: err}
	}
}

// unreserve takes reservations back, the last one first. It does so, too, while the scheduler
// stops.
func unreserve(ctx context.Context, reserved []*extend.Extension, placed remote.Placed) {
	for _, x := range slices.Backward(reserved) {
		stepCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.Timeout)
		_ = x.Part.Unreserve(stepCtx, placed) // one that is away keeps no books
		cancel()
	}
}

// permit waits until all extensions let the pod be bound, or one does not.
func permit(ctx context.Context, d decision, placed remote.Placed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, x := range d.steps {
		if !x.Can(scheduling.CanPermit) {
			continue
		}
		all.Go(func() {
			stepCtx, done := context.WithTimeout(ctx, x.PermitTimeout())
			defer done()
			err := x.Part.Permit(stepCtx, placed)
			if err != nil && ctx.Err() == nil && stepCtx.Err() != nil {
				err = &scheduling.Refused{Reason: fmt.Sprintf("rejected due to timeout after waiting %s at plugin %s", x.PermitTimeout(), x.Name)}
			}
			if err = judge(ctx, x, err); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// bindWith binds by the first extension that wants to, or as the scheduler does.
func (e *engine) bindWith(ctx context.Context, d decision, placed remote.Placed) error {
	for _, x := range d.steps {
		if !x.Can(scheduling.CanBind) {
			continue
		}
		stepCtx, cancel := context.WithTimeout(ctx, bindTimeout)
		err := x.Part.Bind(stepCtx, placed)
		cancel()
		switch {
		case errors.Is(err, scheduling.ErrSkip):
			continue
		case err == nil:
			e.binder.Bound(d.pod, d.node)
			return nil
		}
		if err = judge(ctx, x, err); err != nil {
			return fmt.Errorf("binding by scheduling plugin %q: %w", x.Name, err)
		}
	}
	return e.binder.Bind(ctx, d.pod, d.node)
}

// takeBack gives up a decision: the pod is tried again after its back-off.
func (e *engine) takeBack(d decision, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.cache.Forget(d.pod.UID) || !e.queue.Holds(d.item) {
		return // it was bound by somebody else, or is gone
	}
	e.queue.Retry(d.item)
	e.freed(e.cache.Node(d.node))
	e.signal()
	var refused *scheduling.Refused
	var failure *extend.Failure
	switch {
	case errors.As(err, &refused):
		e.binder.Refuse(d.pod, v1.PodReasonUnschedulable, refused.Reason)
	case errors.As(err, &failure):
		e.binder.Refuse(d.pod, v1.PodReasonSchedulerError, failure.Error())
	default:
		e.notBound(d, err)
	}
}
