package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

var processes = []Fault{
	{Name: "kill one", Servers: 1, Weight: 4, Do: killOne},
	{Name: "kill all", Servers: 1, Weight: 2, Do: killAll},
	{Name: "pause", Servers: 1, Weight: 3, Do: pauseOne},
	{Name: "rolling restart", Servers: 1, Weight: 2, Do: rollingRestart},
	{Name: "clock jump", Servers: 1, Weight: 3, Clock: true, Do: clockJump},
}

func killOne(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	e.Note("kill -9 " + s.Name)
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	e.hold(ctx, 0, 3*time.Second)
	e.Note("start " + s.Name)
	if err := s.Start(); err != nil {
		return err
	}
	if e.Rand.IntN(3) == 0 {
		return nil // The next fault meets it while it starts.
	}
	return e.allReady(ctx)
}

// killAll kills all at once and starts them in any order.
func killAll(ctx context.Context, e *Env) error {
	for _, s := range e.Cluster.Servers {
		if err := s.End(syscall.SIGKILL); err != nil {
			return err
		}
	}
	e.hold(ctx, 0, time.Second)
	return e.startAll(ctx)
}

func (e *Env) startAll(ctx context.Context) error {
	for _, i := range e.Rand.Perm(len(e.Cluster.Servers)) {
		if err := e.Cluster.Servers[i].Start(); err != nil {
			return err
		}
		e.hold(ctx, 0, 500*time.Millisecond)
	}
	return e.allReady(ctx)
}

func pauseOne(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	e.Note("stop " + s.Name)
	if err := s.Pause(); err != nil {
		return err
	}
	e.hold(ctx, 100*time.Millisecond, 5*time.Second)
	e.Note("continue " + s.Name)
	return errors.Join(s.Resume(), e.allReady(ctx))
}

// rollingRestart ends one after the other as an upgrade does.
func rollingRestart(ctx context.Context, e *Env) error {
	for _, i := range e.Rand.Perm(len(e.Cluster.Servers)) {
		s := e.Cluster.Servers[i]
		e.Note("SIGTERM " + s.Name)
		if err := s.End(syscall.SIGTERM); err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return err
		}
		if err := e.allReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clockJump sets the wall clock of one or all servers wrong, and right again.
func clockJump(ctx context.Context, e *Env) error {
	offset := []time.Duration{-24 * time.Hour, -time.Minute, -2 * time.Second, 2 * time.Second, time.Hour, 400 * 24 * time.Hour}[e.Rand.IntN(6)]
	whom := e.Cluster.Servers
	if e.Rand.IntN(3) > 0 {
		whom = []*cluster.Server{e.one(ctx)}
	}
	var errs []error
	for _, s := range whom {
		e.Note(fmt.Sprintf("clock of %s jumps by %v", s.Name, offset))
		errs = append(errs, e.Clock(s, offset))
	}
	e.hold(ctx, time.Second, 4*time.Second)
	for _, s := range whom {
		errs = append(errs, e.Clock(s, 0))
	}
	return errors.Join(append(errs, e.allReady(ctx))...)
}
