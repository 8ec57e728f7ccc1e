package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// candidate is an instance that is tried beside the one that serves.
type candidate struct {
	*instance
	cancel context.CancelFunc
	done   chan error // gets one error, nil where it can take over
}

// ready gives the result of the trial; it never does where nothing is tried.
func (c *candidate) ready() <-chan error {
	if c == nil {
		return nil
	}
	return c.done
}

// consider starts a trial where another entry is wanted than the one that is served.
func (w *watcher) consider(ctx context.Context, wanted entry) error {
	if c := w.candidate; c != nil && (c.entry.serial != wanted.serial || c.entry.round != wanted.round) {
		w.dropCandidate()
	}
	switch {
	case wanted.Origin.Awaits != "":
		return nil // what runs goes on
	case w.candidate != nil, w.entry.serial == wanted.serial && w.entry.round == wanted.round:
		return nil
	case w.entry.round == wanted.round && alike(&w.entry.Spec, &wanted.Spec) && w.usesAsNow(&wanted.Spec):
		return w.adopt(ctx, wanted)
	case wanted.Placement != Process || w.entry.Placement != Process: // one that is there can't be two
		if w.entry.round != wanted.round {
			return errRestart
		}
		return errReplaced
	}
	w.log.Info("trying another entry of the plugin beside the one that serves", "source", wanted.origin())
	ctx, cancel := context.WithCancel(ctx)
	c := &candidate{instance: w.newInstance(wanted), cancel: cancel, done: make(chan error, 1)}
	w.candidate = c
	if !w.plan.isRejected() { // else what was found stays true: this one is like what runs
		w.update(func(st *Status) {
			st.setCondition(ConditionUpgraded, false, "InProgress", "trying "+wanted.origin()+" beside what runs")
		})
	}
	old := w.instance
	go func() { c.done <- c.tryOut(ctx, old) }()
	return nil
}

// tryOut brings a candidate to where it could take over from old.
func (c *candidate) tryOut(ctx context.Context, old *instance) error {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.checkUpgrade(ctx, old); err != nil {
		c.discard()
		return err
	}
	return nil
}

// dropCandidate gives up a trial.
func (w *watcher) dropCandidate() {
	if w.candidate == nil {
		return
	}
	w.candidate.cancel()
	if err := <-w.candidate.done; err == nil {
		w.candidate.discard()
	}
	w.candidate = nil
}

// decide deals with the end of a trial. The candidate takes over where it can, and what
// serves goes on where it can't.
func (w *watcher) decide(ctx context.Context, err error) (*instance, error) {
	c := w.candidate
	w.candidate = nil
	defer c.cancel()
	if err == nil && c.entry.Replacement.Strategy == RestartFirst {
		c.discard()
		return nil, errReplaced
	}
	if err == nil {
		if err = w.handOver(ctx, c.instance); err == nil {
			return c.instance, nil
		}
		c.end(ctx, err) // calls that had begun on it have their time
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.log.Warn("the plugin stays as it was", "refused", err)
	w.out.note("another entry was refused and the one before it goes on: %v", err)
	w.tell(corev1.EventTypeWarning, eventUpgradeRefused, fmt.Sprintf("It stays as it was: %v", err))
	w.plan.refuse(c.entry, w.entry)
	w.update(func(st *Status) {
		st.record(c.revision(RevisionRefused, err.Error()))
		st.setCondition(ConditionUpgraded, false, "Refused", err.Error())
	})
	return nil, nil
}

// handOver makes next take calls and work over from w's instance, and ends that. Where it
// returns an error, all is as it was.
func (w *watcher) handOver(ctx context.Context, next *instance) error {
	old := w.instance
	// Calls: new ones go to next from here on.
	if err := next.attachAll(ctx); err != nil {
		err = next.orDeath(ctx, err)
		old.failed = make(chan error, cap(old.failed)) // it may have been told of the attempt
		if back := old.attachAll(ctx); back != nil {
			return errors.Join(err, fmt.Errorf("and the one before it: %w", back))
		}
		return err
	}
	old.leaveAll() // what next does not offer
	// Calls under way end where they began, while work stops.
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		old.drain(ctx)
	}()
	// Work: old has stopped before next begins, so that nothing is done by both.
	if working := old.work != nil; working {
		if !old.stopWork() {
			<-drained
			old.guest.kill()
			if old.guest.ended != nil {
				<-old.guest.ended
			}
		}
		next.startWork(ctx)
	}
	before := old.snapshot()
	after := next.snapshot()
	restarted := next.entry.round != old.entry.round
	lines, _ := old.out.tail(statusLines)
	w.serving.Store(next)
	w.supervisor.update(func(st *Status) {
		st.takeOver(&after)
		if restarted {
			st.Restarts++
			st.LastReason, st.LastOutput = errRestart.Error(), lines
		}
		if w.plan.isWanted(next.entry) {
			st.conclude(before.Version)
		}
		st.record(next.revision(RevisionServing, ""))
	})
	w.log.Info("another instance has taken over", "from", before.Version, "to", after.Version)
	w.tellTakeOver(&before, &after)
	<-drained
	old.detachAll()
	old.guest.stop()
	old.revoke()
	if err := next.grant(ctx, next.granted); err != nil && ctx.Err() == nil {
		w.log.Warn("permissions of the version before stay with the plugin", "error", err)
	}
	return nil
}

// adopt takes over what has changed in an entry without a new process: permissions.
func (w *watcher) adopt(ctx context.Context, wanted entry) error {
	wanted.held = w.entry.held
	w.entry = wanted
	w.plan.hold(wanted)
	w.spec.Grant, w.spec.Permissions = wanted.Grant, wanted.Permissions
	w.spec.Replacement, w.spec.Wish = wanted.Replacement, wanted.Wish
	granted, pending := w.spec.granted(w.info.Permissions)
	if err := w.grant(ctx, granted); err != nil {
		return err
	}
	w.granted = granted
	w.update(func(st *Status) {
		st.Granted, st.PendingPermissions = granted, pending
		_, st.PendingUses = wanted.usesOf(w.artifact.Manifest)
		st.setGranted(w.spec.Name, pending)
		st.conclude(st.Version)
	})
	return nil
}

// watchPeriod is over when the instance has proven itself. What there is nothing before is
// proven when it works.
func (w *watcher) watchPeriod() <-chan time.Time {
	it, anything := w.plan.proven(w.entry)
	if it || !anything {
		w.prove()
		return nil
	}
	period := w.spec.Replacement.WatchPeriod
	if period <= 0 {
		period = DefaultWatchPeriod
	}
	return time.After(period)
}

// prove notes that the instance's entry works.
func (w *watcher) prove() {
	w.plan.prove(w.entry)
	back := w.plan.isRejected() // it is what was gone back to
	w.update(func(st *Status) {
		st.record(w.revision(RevisionServing, ""))
		if back || !w.plan.isWanted(w.entry) {
			return
		}
		st.setCondition(ConditionUpgraded, true, "Proven", "version "+st.Version+" works as its entry says")
	})
}

// goBack reports whether an entry that has failed is given up for the one before it.
func (s *supervisor) goBack(e entry, err error) bool {
	if wasAsked(err) {
		return false
	}
	if it, anything := s.plan.proven(e); it || !anything {
		return false
	}
	if !s.plan.reject(e) {
		return false
	}
	failed := s.serving.Load()
	s.log.Warn("rolled back to what ran before", "failed", failed.info.Version, "reason", err)
	s.out.note("rolled back to what ran before: %v", err)
	s.tell(corev1.EventTypeWarning, eventRolledBack, fmt.Sprintf("Rolled back to what ran before: %v", err))
	s.update(func(st *Status) {
		st.record(failed.revision(RevisionRolledBack, err.Error()))
		st.setCondition(ConditionUpgraded, false, "RolledBack", err.Error())
	})
	return true
}
