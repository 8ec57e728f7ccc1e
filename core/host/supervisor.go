package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// statusLines is how many of the last lines before an exit a status carries.
const statusLines = 200

// supervisor watches over one plugin: it starts sessions one after the other.
type supervisor struct {
	host *Host
	// spec is the entry as it was first; its Name, Placement of the object and NodeScoped
	// never change. What holds now is the plan's.
	spec    Spec
	plan    *plan
	log     *slog.Logger
	out     *output
	network *networkProxy
	keys    *keyManagerProxy
	// holders of the points that others call, by the point's name.
	holders map[protocol.Point]holder
	// attached says which instance each holder has; only the session's goroutine looks.
	attached map[protocol.Point]*instance
	// serving is the instance that the plugin's status is about, nil before the first.
	serving atomic.Pointer[instance]

	meter *meter
	// hung says why the plugin is taken for hung, though it answers health checks.
	hung atomic.Pointer[string]
	// Only who keeps the figures looks at these: when they were last published, the troubles
	// of the last look and how the status says them, and the output dropped until then.
	figuresAt time.Time
	troubles  []trouble
	troubled  string
	dropped   int64
	droppedAt time.Time
	busy      busy
	// tallies are of what its calls do that they should not.
	tallies tallies

	stopped chan struct{} // closed when supervise has returned

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed at each change of status
}

// Reasons for the end of a session that are no failures.
var (
	errRestart        = errors.New("a restart was asked for")
	errLostLeadership = errors.New("this host no longer leads")
	errReplaced       = errors.New("its entry was changed")
	errDisabled       = errors.New("it was disabled")
	errRemoved        = errors.New("it was removed from the catalogue")
)

// wasAsked reports whether a session ended because somebody wanted it to.
func wasAsked(err error) bool {
	for _, asked := range []error{errRestart, errLostLeadership, errReplaced, errDisabled, errRemoved} {
		if errors.Is(err, asked) {
			return true
		}
	}
	return false
}

func newSupervisor(h *Host, spec Spec) (*supervisor, error) {
	out, err := newOutput(filepath.Join(h.config.Dir, "logs", spec.Name+".log"), h.config.LogBytes)
	if err != nil {
		return nil, err
	}
	s := &supervisor{
		host:     h,
		spec:     spec,
		plan:     newPlan(spec),
		log:      h.config.Logger.With("plugin", spec.Name),
		out:      out,
		meter:    &meter{metrics: h.metrics, plugin: spec.Name},
		attached: map[protocol.Point]*instance{},
		stopped:  make(chan struct{}),
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
		protocol.PointCloud:      newCloudHolder(s),
		protocol.PointStorage:    newStorageHolder(s),

		protocol.PointRuntimeDriver: newDriverHolder(s),

		protocol.PointAdmission:      &admissionHolder{supervisor: s},
		protocol.PointAuthentication: newAuthenticationHolder(s),
		protocol.PointAuthorization:  newAuthorizationHolder(s),
	}
	if spec.Disabled {
		s.status.Health, s.status.Reason = HealthDisabled, disabledReason
	}
	return s, nil
}

const disabledReason = "disabled by its configuration"

// nodeOf is the node's name in a plugin's object.
func nodeOf(h *Host, spec *Spec) string {
	if spec.NodeScoped {
		return h.config.Node
	}
	return ""
}

// supervise runs sessions until ctx is done or the plugin is removed.
func (s *supervisor) supervise(ctx context.Context) {
	failures := 0
	for first := true; ; first = false {
		e, ok := s.await(ctx)
		if !ok {
			s.ends(ctx)
			return
		}
		if !first {
			s.update(func(st *Status) { st.Restarts++ })
		}
		s.update(func(st *Status) {
			st.Health, st.NextStart = HealthStarting, time.Time{}
			st.Circuit = s.host.config.Backoff.circuit(failures, false)
		})
		e, healthyFor, err := s.session(ctx, e)
		if ctx.Err() != nil {
			s.ends(ctx)
			return
		}
		switch {
		case wasAsked(err):
			failures = 0
		case s.goBack(e, err):
			failures = 0
		case healthyFor >= s.host.config.Backoff.Reset:
			failures = 1
		default:
			failures++
		}
		if !s.pause(ctx, e, err, failures) {
			s.ends(ctx)
			return
		}
	}
}

// ends notes the end of supervision.
func (s *supervisor) ends(ctx context.Context) {
	reason := "the host was stopped"
	if ctx.Err() == nil {
		reason = errRemoved.Error()
	}
	s.update(func(st *Status) {
		st.PID = 0
		if st.Health != HealthDisabled {
			setHealth(st, HealthStopped, reason)
		}
	})
}

// await returns the entry to run when there is one that is not disabled. It returns false
// with the end of ctx, and when the plugin was removed.
func (s *supervisor) await(ctx context.Context) (entry, bool) {
	for {
		e, removed, changed := s.plan.next()
		switch {
		case removed || ctx.Err() != nil:
			return e, false
		case e.Disabled:
			s.admission().passOver()
			s.update(func(st *Status) { setHealth(st, HealthDisabled, disabledReason) })
		case e.Origin.Awaits != "":
			s.update(func(st *Status) { setHealth(st, HealthPending, e.Origin.Awaits) })
		default:
			return e, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// pause records why a session ended and waits until the next may begin. It returns false
// where there will be none.
func (s *supervisor) pause(ctx context.Context, e entry, err error, failures int) bool {
	lines, panicText := s.out.tail(statusLines)
	delay := s.host.config.Backoff.delay(failures)
	back := failures == 0 && !wasAsked(err) // to the entry before
	refused := isRefused(err) && !back
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
	s.tellEnd(err, failures, delay)
	var timer <-chan time.Time
	if refused {
		s.log.Error("plugin refused", "reason", err)
	} else {
		s.log.Warn("plugin ended", "reason", err, "restartIn", delay)
		t := time.NewTimer(delay)
		defer t.Stop()
		timer = t.C
	}
	for {
		next, removed, changed := s.plan.next()
		if removed || next.serial != e.serial {
			return true
		}
		select {
		case <-timer:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// restart asks for another instance of what is wanted.
func (s *supervisor) restart() {
	s.update(func(st *Status) {
		s.plan.again()
		e := s.plan.current()
		s.expectTrial(st, &e.Spec)
	})
}

// expectTrial says that a plugin that runs is about to be tried in another instance, so that
// who has asked for that does not take what runs for the outcome.
func (s *supervisor) expectTrial(st *Status, spec *Spec) {
	if st.Health == HealthHealthy || st.Health == HealthStandby || st.Health == HealthUnhealthy {
		st.setCondition(ConditionUpgraded, false, "InProgress", "about to try "+entry{Spec: *spec}.origin()+" beside what runs")
	}
}

// update changes the status and tells whoever waits for that.
func (s *supervisor) update(f func(*Status)) {
	s.mu.Lock()
	before := s.status.Health
	f(&s.status)
	after := s.status.Health
	if before != after {
		s.status.setCondition(ConditionReady, after == HealthHealthy || after == HealthStandby, string(after), s.status.Reason)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if before != after {
		s.host.requirements.notify()
	}
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
