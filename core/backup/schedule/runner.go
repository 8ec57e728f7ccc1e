package schedule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/target"
)

// Lead says whether this server leads; *store.Store implements it.
type Lead interface {
	Leadership() (leader bool, address string)
	LeadershipChanged() <-chan struct{}
}

// Pinned is a backup about to be written; *backup.Snapshot implements it.
type Pinned interface {
	Header() backup.Header
	Write(ctx context.Context, w io.Writer) (backup.Summary, error)
	Close()
}

// Config of a Runner.
type Config struct {
	Plan Plan
	Keep Keep
	Lead Lead
	// Target makes the place of the backups anew for each run, so that nothing of it stays in
	// memory between two.
	Target func() (target.Target, error)
	// Pin begins a backup.
	Pin func(ctx context.Context) (Pinned, error)
	// Cluster is the identity that the names of this cluster's backups begin with.
	Cluster func(ctx context.Context) string
	// Tell shows the outcome of a run to the cluster's users: nil is a success.
	Tell func(ctx context.Context, what string, err error)
	// Metrics gets the runner's metrics; nil none.
	Metrics prometheus.Registerer
	Logger  *slog.Logger
	// Retry is how long the first try after a failure waits; each further one waits twice as
	// long, up to sixteen times. Default 1 minute.
	Retry time.Duration
}

// Runner writes backups when they are due.
type Runner struct {
	cfg     Config
	metrics metrics
}

// New makes a runner.
func New(cfg Config) *Runner {
	if cfg.Retry == 0 {
		cfg.Retry = time.Minute
	}
	r := &Runner{cfg: cfg, metrics: newMetrics()}
	if cfg.Metrics != nil {
		r.metrics.register(cfg.Metrics)
	}
	return r
}

const (
	// look is how often the clock is read, which may have jumped.
	look = 30 * time.Second
	// abandoned is how old what an interrupted upload left must be before it is removed.
	abandoned = 24 * time.Hour
	// longest multiple of Retry.
	longest = 16
	// stall is how long a target may take for a piece, and for the end.
	stall = 10 * time.Minute
)

var errStuck = fmt.Errorf("the target has taken nothing for %v", stall)

// Run writes backups until ctx ends. It returns nil.
func (r *Runner) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := r.cfg.Lead.LeadershipChanged()
		if leads, _ := r.cfg.Lead.Leadership(); leads {
			r.lead(ctx, changed)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// lead writes backups as long as this server leads.
func (r *Runner) lead(ctx context.Context, changed <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	// The clock that backups are named by is the wall's.
	begun := now()
	var newest time.Time
	known, wait := false, r.cfg.Retry
	for {
		err := error(nil)
		if !known {
			// Another server may have led, and an administrator may have cleaned up.
			newest, err = r.newest(ctx)
			known = err == nil
		}
		if known {
			if !r.sleepUntil(ctx, r.cfg.Plan.Next(newest, begun)) {
				return
			}
			var made time.Time
			if made, err = r.once(ctx); !made.IsZero() {
				newest = made
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			wait = r.cfg.Retry
			continue
		}
		r.failed(ctx, err)
		// What is there is looked at again: the failed run may have ended well.
		known = false
		if !r.sleepUntil(ctx, now().Add(wait)) {
			return
		}
		wait = min(2*wait, longest*r.cfg.Retry)
	}
}

// now is the time of the clock on the wall, without what Go notes beside it.
func now() time.Time { return time.Now().Round(0) }

// sleepUntil returns false when ctx has ended.
func (r *Runner) sleepUntil(ctx context.Context, due time.Time) bool {
	r.metrics.next.Set(float64(due.Unix()))
	for {
		left := due.Sub(now())
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-time.After(min(left, look)):
		case <-ctx.Done():
			return false
		}
	}
}

// newest is when the newest backup of this cluster was made; zero where there is none.
func (r *Runner) newest(ctx context.Context) (time.Time, error) {
	t, err := r.cfg.Target()
	if err != nil {
		return time.Time{}, err
	}
	list, err := r.list(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	for _, b := range list {
		if b.Created.After(at) {
			at = b.Created
		}
	}
	// One of the future, by a clock that was wrong, must not keep others from being made.
	if n := now(); at.After(n) {
		at = n
	}
	return at, nil
}

// list are the backups of this cluster.
func (r *Runner) list(ctx context.Context, t target.Target) ([]backup.Named, error) {
	entries, err := t.List(ctx)
	if err != nil {
		return nil, err
	}
	own := r.own(ctx)
	var out []backup.Named
	for _, e := range entries {
		if b, ok := own(e.Name); ok {
			out = append(out, b)
		}
	}
	return out, nil
}

// own understands the names of this cluster's backups.
func (r *Runner) own(ctx context.Context) func(name string) (backup.Named, bool) {
	like, _ := backup.ParseName(backup.Name(backup.Header{Cluster: r.cfg.Cluster(ctx)}))
	return func(name string) (backup.Named, bool) {
		b, ok := backup.ParseName(name)
		return b, ok && b.Cluster == like.Cluster
	}
}

// once writes a backup and removes those that are not wanted any more. made is zero where none
// was written.
func (r *Runner) once(ctx context.Context) (made time.Time, err error) {
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() {
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStuck) {
			err = cause
		}
	}()
	t, err := r.cfg.Target()
	if err != nil {
		return made, err
	}
	pinned, err := r.cfg.Pin(ctx)
	if err != nil {
		return made, err
	}
	defer pinned.Close()
	h := pinned.Header()
	name := backup.Name(h)
	u, err := t.Create(ctx, name)
	if err != nil {
		return made, err
	}
	defer u.Abort()
	// A target that takes nothing must not keep a revision pinned for ever.
	stuck := time.AfterFunc(stall, func() { cancel(errStuck) })
	defer stuck.Stop()
	sum, err := pinned.Write(ctx, writing{u, stuck})
	if err != nil {
		return made, err
	}
	if err := u.Commit(); err != nil {
		return made, err
	}
	pinned.Close()
	r.metrics.succeeded(sum.Bytes, time.Since(begun))
	r.cfg.Logger.Info("Made a backup", "name", name, "revision", h.Revision, "objects", sum.Objects, "bytes", sum.Bytes,
		"took", time.Since(begun).Round(time.Millisecond))
	r.cfg.Tell(ctx, fmt.Sprintf("Made backup %s of %d objects, %d bytes", name, sum.Objects, sum.Bytes), nil)
	return h.Created, r.tidy(ctx, t)
}

// writing puts off the moment at which a target is taken for stuck.
type writing struct {
	w     io.Writer
	stuck *time.Timer
}

func (w writing) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.stuck.Reset(stall)
	return n, err
}

// tidy removes what is not wanted any more.
func (r *Runner) tidy(ctx context.Context, t target.Target) error {
	own := r.own(ctx)
	errs := []error{t.Sweep(ctx, abandoned, func(name string) bool { _, ok := own(name); return ok })}
	list, err := r.list(ctx, t)
	if err != nil {
		errs = append(errs, err)
	}
	for _, b := range slices.Backward(r.cfg.Keep.Obsolete(list, time.Local)) {
		if err := t.Remove(ctx, b.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.cfg.Logger.Info("Removed a backup", "name", b.Name)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the backup was made; tidying up after it: %w", err)
	}
	return nil
}

func (r *Runner) failed(ctx context.Context, err error) {
	r.metrics.failures.Inc()
	r.cfg.Logger.Error("A backup failed", "error", err)
	r.cfg.Tell(ctx, "", err)
}
