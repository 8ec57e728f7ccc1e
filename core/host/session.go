package host

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxMissedPings in a row, and a plugin is taken for hung.
	maxMissedPings = 3
	// deathNotice is how long an error is held back to see whether the process died,
	// which says more.
	deathNotice = 500 * time.Millisecond
)

// hungError: the plugin was killed because it was hung, which is the reason that counts.
type hungError struct{ err error }

func (e *hungError) Error() string { return e.err.Error() }
func (e *hungError) Unwrap() error { return e.err }

// session is the time from a launch to the end of what was launched, or of what took over
// from it. It always ends with an error that says why, and returns how long the plugin was
// healthy, and which entry was the last.
func (s *supervisor) session(ctx context.Context, e entry) (last entry, healthyFor time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	i := s.newInstance(e)
	s.serving.Store(i)
	stopLooking := s.endWhenReplaced(ctx, e, cancel)
	err = i.prepare(ctx)
	stopLooking()
	if err != nil {
		return i.entry, 0, causeOr(ctx, err)
	}
	if err := i.attachAll(ctx); err != nil {
		err = causeOr(ctx, i.orDeath(ctx, err))
		i.end(ctx, err)
		return i.entry, 0, err
	}
	for {
		next, healthyFor, err := i.live(ctx)
		if next == nil {
			i.end(ctx, err)
			return i.entry, healthyFor, causeOr(ctx, err)
		}
		i = next
	}
}

// endWhenReplaced cancels what is being prepared where another entry is wanted, until stop is
// called.
func (s *supervisor) endWhenReplaced(ctx context.Context, e entry, cancel context.CancelCauseFunc) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		for {
			next, removed, changed := s.plan.next()
			switch {
			case ctx.Err() != nil:
				return
			case removed:
				cancel(errRemoved)
				return
			case next.Disabled:
				cancel(errDisabled)
				return
			case next.serial != e.serial:
				cancel(errReplaced)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}()
	return stop
}

// causeOr prefers the reason for which a session was ended to what came of that.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// live sets a connected instance to work when this host leads, and watches over it. It
// returns when its life is over, with the reason, or with the instance that took over.
func (i *instance) live(ctx context.Context) (next *instance, healthyFor time.Duration, err error) {
	w := &watcher{instance: i, tick: time.NewTicker(i.host.config.PingInterval)}
	defer w.tick.Stop()
	defer w.dropCandidate()
	for {
		next, err := w.step(ctx)
		if next != nil {
			return next, 0, nil
		}
		if err != nil {
			if !w.healthySince.IsZero() {
				healthyFor = now().Sub(w.healthySince)
			}
			return nil, healthyFor, i.orDeath(ctx, err)
		}
	}
}

// watcher is what is known of an instance while it lives.
type watcher struct {
	*instance
	tick         *time.Ticker
	missed       int
	healthySince time.Time        // zero until it does its work
	proof        <-chan time.Time // when it has proven itself
	candidate    *candidate       // what is tried beside it
}

// step waits for one thing to happen, and deals with it. The instance's life is over where
// it returns an error; another has taken over where it returns that.
func (w *watcher) step(ctx context.Context) (*instance, error) {
	leading, leadership := w.host.lead.get()
	switch {
	case len(w.guest.runs()) == 0:
		w.atWork()
	case leading:
		if w.work == nil {
			w.startWork(ctx)
		}
		w.atWork()
	case w.work != nil:
		return nil, errLostLeadership
	case w.healthySince.IsZero():
		w.update(func(st *Status) { setHealth(st, HealthStandby, "another host leads") })
	}
	wanted, removed, planned := w.plan.next()
	switch {
	case removed:
		return nil, errRemoved
	case wanted.Disabled:
		return nil, errDisabled
	}
	if err := w.consider(ctx, wanted); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.guest.ended:
		return nil, w.guest.why()
	case err := <-w.failed:
		return nil, w.meter.why(err)
	case <-leadership:
	case <-planned:
	case <-w.proof:
		w.proof = nil
		w.prove()
	case err := <-w.candidate.ready():
		return w.decide(ctx, err)
	case <-w.tick.C:
		return nil, w.check(ctx)
	}
	return nil, nil
}

// atWork notes that the instance does what it is for.
func (w *watcher) atWork() {
	if !w.healthySince.IsZero() {
		return
	}
	w.healthySince = now()
	w.hung.Store(nil) // said of the one before
	w.update(func(st *Status) { setHealth(st, HealthHealthy, "") })
	w.tellStarted()
	if w.proof == nil {
		w.proof = w.watchPeriod()
	}
}

// check asks the plugin whether it is well.
func (w *watcher) check(ctx context.Context) error {
	if w.healthySince.IsZero() {
		return nil // in standby, where nobody depends on it
	}
	if why := w.hung.Swap(nil); why != nil && !traced(w.snapshot().PID) {
		w.guest.kill()
		return &hungError{errors.New(*why)}
	}
	pingCtx, cancel := context.WithTimeout(ctx, w.host.config.PingInterval)
	err := w.guest.ping(pingCtx)
	cancel()
	switch {
	case err == nil && w.missed > 0:
		w.missed = 0
		w.update(func(st *Status) { setHealth(st, HealthHealthy, "") })
	case err == nil:
	case traced(w.snapshot().PID): // a debugger holds it
	default:
		w.missed++
		if w.missed >= maxMissedPings {
			w.guest.kill() // who does not answer will not stop when asked either
			return &hungError{fmt.Errorf("it did not answer %d health checks in a row: %w", w.missed, err)}
		}
		reason := fmt.Sprintf("health check %d not answered: %v", w.missed, err)
		w.update(func(st *Status) { setHealth(st, HealthUnhealthy, reason) })
	}
	return nil
}

// orDeath replaces an error by the way the process ended, where it is ending.
func (i *instance) orDeath(ctx context.Context, err error) error {
	var hung *hungError
	if i.guest.ended == nil || ctx.Err() != nil || isRefused(err) || wasAsked(err) || errors.As(err, &hung) {
		return err
	}
	patience := time.NewTimer(deathNotice)
	defer patience.Stop()
	select {
	case <-i.guest.ended:
		return i.guest.why()
	case <-patience.C:
		return err
	}
}

// goesForGood reports whether a session ended because nothing is to follow.
func goesForGood(why error) bool {
	return errors.Is(why, errRemoved) || errors.Is(why, errDisabled)
}

func setHealth(st *Status, h Health, reason string) { st.Health, st.Reason = h, reason }
