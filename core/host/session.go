package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
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

// session is one life of a plugin, from its launch to its end. It always ends with an
// error that says why, and returns how long the plugin was healthy.
func (s *supervisor) session(ctx context.Context) (healthyFor time.Duration, err error) {
	dir := filepath.Join(s.host.config.Dir, "plugins", s.spec.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("private directory: %w", err)
	}
	api, revoke, err := s.host.config.API(ctx, s.spec.Name)
	if err != nil {
		return 0, fmt.Errorf("identity: %w", err)
	}
	if revoke != nil {
		defer revoke()
	}
	peers, leave, err := s.host.relay.admit(&s.spec)
	if err != nil {
		return 0, err
	}
	defer leave()
	env := protocol.Environment{API: api, Node: s.host.config.Node, Dir: dir, Peers: peers}

	s.out.started()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-s.restarts:
			cancel(errRestart)
		case <-over:
		}
	}()

	var g *guest
	switch s.spec.Placement {
	case Builtin:
		g, err = s.embed(env)
	case Served:
		g, err = s.reach(ctx, env)
	default:
		g, err = s.launch(ctx, dir, env)
	}
	if err != nil {
		return 0, causeOr(ctx, err)
	}
	started := now()
	s.update(func(st *Status) { st.StartedAt = started })
	healthyFor, err = s.live(ctx, g)
	g.stop()
	return healthyFor, causeOr(ctx, err)
}

// causeOr prefers the reason for which a session was ended to what came of that.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// live introduces a launched plugin, sets it to work and watches over it.
func (s *supervisor) live(ctx context.Context, g *guest) (time.Duration, error) {
	if err := s.introduce(ctx, g); err != nil {
		return 0, s.orDeath(ctx, g, err)
	}
	failed := make(chan error, len(s.holders)+len(g.runs())+1) // one of each that may fail
	for _, point := range g.points {
		h, ok := s.holders[point]
		if !ok {
			continue
		}
		defer h.detach()
		if err := h.attach(ctx, g, failed); err != nil {
			return 0, s.orDeath(ctx, g, err)
		}
	}
	defer s.host.relay.offer(g)()
	runs := g.runs()
	if len(runs) > 0 {
		lost, err := s.awaitLeadership(ctx, g)
		if err != nil {
			return 0, err
		}
		var cancel context.CancelFunc
		runCtx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		for _, run := range runs {
			running.Go(func() {
				if err := run(runCtx, g.env); runCtx.Err() == nil {
					if err == nil {
						err = errors.New("it returned without having been told to stop")
					}
					failed <- err
				}
			})
		}
		defer s.stopRuns(&running, cancel)
		go func() {
			select {
			case <-lost:
				failed <- errLostLeadership
			case <-runCtx.Done():
			}
		}()
	}
	healthy := now()
	s.update(func(st *Status) { st.Health, st.Reason = HealthHealthy, "" })
	err := s.orDeath(ctx, g, s.watchOver(ctx, g, failed))
	return now().Sub(healthy), err
}

// stopRuns tells a plugin's work to stop and waits, but not forever, until it has.
func (s *supervisor) stopRuns(running *sync.WaitGroup, cancel context.CancelFunc) {
	cancel()
	stopped := make(chan struct{})
	go func() {
		running.Wait()
		close(stopped)
	}()
	patience := time.NewTimer(s.host.config.StopTimeout)
	defer patience.Stop()
	select {
	case <-stopped:
	case <-patience.C:
		s.out.note("did not stop within %s and is killed", s.host.config.StopTimeout)
	}
}

// introduce learns who the plugin is, configures it and grants its permissions.
func (s *supervisor) introduce(ctx context.Context, g *guest) error {
	info := g.base.Info()
	if info.Name != s.spec.Name {
		return refuse("the plugin calls itself %q, its entry %q: change the entry's name", info.Name, s.spec.Name)
	}
	granted := s.spec.granted(info.Permissions)
	s.update(func(st *Status) {
		st.Version, st.Description, st.Points = info.Version, info.Description, g.points
		st.Requested, st.Granted = info.Permissions, granted
	})
	settings, err := remote.CheckSettings(ctx, g.base.ConfigSchema(), s.spec.Settings)
	if err != nil {
		return refuse("settings: %w", err)
	}
	callCtx, cancel := context.WithTimeout(ctx, s.host.config.CallTimeout)
	defer cancel()
	if err := g.base.Configure(callCtx, settings); err != nil {
		if callCtx.Err() != nil {
			return fmt.Errorf("configure: %w", err)
		}
		return refuse("settings: %w", err)
	}
	if s.host.config.Client == nil || !s.host.config.ManagePermissions {
		return nil
	}
	return s.grant(ctx, g, granted)
}

// grant keeps at it until the API server is there.
func (s *supervisor) grant(ctx context.Context, g *guest, rules []policyRule) error {
	wait := 50 * time.Millisecond
	for {
		err := EnsurePermissions(ctx, s.host.config.Client, s.spec.Name, rules)
		if err == nil {
			return nil
		}
		reason := fmt.Sprintf("waiting to be granted its permissions: %v", err)
		s.update(func(st *Status) { st.Reason = reason })
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-g.ended:
			timer.Stop()
			return errors.New(reason)
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// awaitLeadership returns when this host leads, with a channel that is closed when that
// changes.
func (s *supervisor) awaitLeadership(ctx context.Context, g *guest) (lost <-chan struct{}, err error) {
	for {
		leading, changed := s.host.lead.get()
		if leading {
			return changed, nil
		}
		s.update(func(st *Status) { st.Health, st.Reason = HealthStandby, "another host leads" })
		select {
		case <-changed:
		case <-g.ended:
			return nil, g.why()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// watchOver returns when the plugin's life is over, with the reason.
func (s *supervisor) watchOver(ctx context.Context, g *guest, failed <-chan error) error {
	tick := time.NewTicker(s.host.config.PingInterval)
	defer tick.Stop()
	missed := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.ended:
			return g.why()
		case err := <-failed:
			return err
		case <-tick.C:
		}
		pingCtx, cancel := context.WithTimeout(ctx, s.host.config.PingInterval)
		err := g.ping(pingCtx)
		cancel()
		switch {
		case err == nil && missed > 0:
			missed = 0
			s.update(func(st *Status) { st.Health, st.Reason = HealthHealthy, "" })
		case err == nil:
		default:
			missed++
			if missed >= maxMissedPings {
				g.kill() // who does not answer will not stop when asked either
				return &hungError{fmt.Errorf("it did not answer %d health checks in a row: %w", missed, err)}
			}
			reason := fmt.Sprintf("health check %d not answered: %v", missed, err)
			s.update(func(st *Status) { st.Health, st.Reason = HealthUnhealthy, reason })
		}
	}
}

// orDeath replaces an error by the way the process ended, where it is ending.
func (s *supervisor) orDeath(ctx context.Context, g *guest, err error) error {
	var hung *hungError
	if g.ended == nil || ctx.Err() != nil || isRefused(err) || errors.Is(err, errLostLeadership) || errors.As(err, &hung) {
		return err
	}
	patience := time.NewTimer(deathNotice)
	defer patience.Stop()
	select {
	case <-g.ended:
		return g.why()
	case <-patience.C:
		return err
	}
}
