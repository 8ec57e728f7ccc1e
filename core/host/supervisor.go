package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// statusLines is how many of the last lines before an exit a status carries.
const statusLines = 200

// supervisor watches over one plugin: it starts sessions one after the other.
type supervisor struct {
	host    *Host
	spec    Spec
	log     *slog.Logger
	out     *output
	network *networkProxy
	keys    *keyManagerProxy
	// holders of the points that others call, by the point's name.
	holders map[protocol.Point]holder

	restarts chan struct{} // a restart was asked for

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed at each change of status
	cell    *confine.Cell // of the process, where it has one
}

var (
	errRestart        = errors.New("a restart was asked for")
	errLostLeadership = errors.New("this host no longer leads")
)

func newSupervisor(h *Host, spec Spec) (*supervisor, error) {
	out, err := newOutput(filepath.Join(h.config.Dir, "logs", spec.Name+".log"), h.config.LogBytes)
	if err != nil {
		return nil, err
	}
	s := &supervisor{
		host:     h,
		spec:     spec,
		log:      h.config.Logger.With("plugin", spec.Name),
		out:      out,
		restarts: make(chan struct{}, 1),
		changed:  make(chan struct{}),
		status: Status{
			Object: ObjectName(spec.Name, nodeOf(h, &spec)), Name: spec.Name, Placement: spec.Placement,
			Health: HealthPending, Circuit: CircuitClosed, LogFile: out.path,
		},
	}
	s.network = newNetworkProxy(s)
	s.keys = newKeyManagerProxy(s)
	s.holders = map[protocol.Point]holder{
		protocol.PointNetwork:    s.network,
		protocol.PointKeyManager: s.keys,
		protocol.PointScheduling: schedulingHolder{s},
		protocol.PointResource:   newTypesHolder(s),
		protocol.PointAPIService: newAPIServiceHolder(s),
	}
	if spec.Disabled {
		s.status.Health, s.status.Reason = HealthDisabled, "disabled by its configuration"
	}
	return s, nil
}

// nodeOf is the node's name in a plugin's object.
func nodeOf(h *Host, spec *Spec) string {
	if spec.NodeScoped {
		return h.config.Node
	}
	return ""
}

// supervise runs sessions until ctx is done.
func (s *supervisor) supervise(ctx context.Context) {
	if s.spec.Disabled {
		s.update(func(*Status) {})
		return
	}
	failures := 0
	for first := true; ; first = false {
		if !first {
			s.update(func(st *Status) { st.Restarts++ })
		}
		s.update(func(st *Status) {
			st.Health, st.NextStart = HealthStarting, time.Time{}
			st.Circuit = s.host.config.Backoff.circuit(failures, false)
		})
		healthyFor, err := s.session(ctx)
		if ctx.Err() != nil {
			s.update(func(st *Status) { st.Health, st.PID, st.Reason = HealthStopped, 0, "the host was stopped" })
			return
		}
		switch {
		case errors.Is(err, errRestart), errors.Is(err, errLostLeadership):
			failures = 0
		case healthyFor >= s.host.config.Backoff.Reset:
			failures = 1
		default:
			failures++
		}
		if !s.pause(ctx, err, failures) {
			s.update(func(st *Status) { st.Health, st.PID, st.Reason = HealthStopped, 0, "the host was stopped" })
			return
		}
	}
}

// pause records why a session ended and waits until the next may begin. It returns false
// where there will be none.
func (s *supervisor) pause(ctx context.Context, err error, failures int) bool {
	lines, panicText := s.out.tail(statusLines)
	delay := s.host.config.Backoff.delay(failures)
	refused := isRefused(err)
	s.update(func(st *Status) {
		st.PID, st.Reason, st.LastReason = 0, err.Error(), err.Error()
		st.LastOutput, st.Panic = lines, panicText
		switch {
		case refused:
			st.Health, st.Circuit = HealthRefused, CircuitOpen
		default:
			st.Health = HealthBackOff
			st.NextStart = now().Add(delay)
			st.Circuit = s.host.config.Backoff.circuit(failures, true)
		}
	})
	var timer <-chan time.Time
	if refused {
		s.log.Error("plugin refused", "reason", err)
	} else {
		s.log.Warn("plugin ended", "reason", err, "restartIn", delay)
		t := time.NewTimer(delay)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
	case <-s.restarts:
	case <-ctx.Done():
		return false
	}
	return true
}

// restart asks for a new session.
func (s *supervisor) restart() {
	select {
	case s.restarts <- struct{}{}:
	default: // one is asked for already
	}
}

// update changes the status and tells whoever waits for that.
func (s *supervisor) update(f func(*Status)) {
	s.mu.Lock()
	f(&s.status)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if p := s.host.publisher; p != nil {
		p.notify(s.spec.Name)
	}
}

func (s *supervisor) snapshot() Status {
	st, _ := s.watch()
	return st
}

// watch returns the status and a channel that is closed when it has changed.
func (s *supervisor) watch() (Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.changed
}

func (s *supervisor) waitHealthy(ctx context.Context) error {
	for {
		st, changed := s.watch()
		switch st.Health {
		case HealthHealthy, HealthStandby:
			return nil
		case HealthRefused, HealthStopped, HealthDisabled:
			return fmt.Errorf("plugin %s is %s: %s", st.Name, st.Health, st.Reason)
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s is %s: %s: %w", st.Name, st.Health, st.Reason, ctx.Err())
		}
	}
}
