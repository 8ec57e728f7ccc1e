package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// hungAfter is how often the time that a call may take must pass without any answer, until a
// plugin with calls is taken for hung, though it answers health checks.
const hungAfter = 6

// trouble is something that a plugin makes while it runs, which does not end it.
type trouble struct {
	event string // the reason of its event
	text  string
	// unhealthy: it does not do what it is for.
	unhealthy bool
}

// Reasons of events about troubles.
const (
	eventUnanswered = "CallsUnanswered"
	eventProcesses  = "ProcessLimit"
	eventDropped    = "OutputDropped"
	eventCPU        = "CPULimit"
	eventGarbage    = "AnswersUnusable"
	eventReads      = "ReadsRefused"
)

// lookForTrouble says of a plugin what is wrong with it, in its status and by an event at
// first. Who keeps the figures calls it.
func (s *supervisor) lookForTrouble() {
	var now []trouble
	if t, ok := s.unanswered(); ok {
		now = append(now, t)
	}
	now = append(now, s.atLimits()...)
	if t, ok := s.flooding(); ok {
		now = append(now, t)
	}
	now = append(now, s.tallies.troubles()...)
	if len(now) == 0 && s.troubled == "" {
		return
	}
	before := s.troubles
	s.troubles = now
	texts := make([]string, 0, len(now))
	health := HealthHealthy
	for _, t := range now {
		texts = append(texts, t.text)
		if t.unhealthy {
			health = HealthUnhealthy
		}
		if !slices.ContainsFunc(before, func(o trouble) bool { return o.event == t.event }) {
			s.tell(corev1.EventTypeWarning, t.event, t.text)
		}
	}
	was, is := s.troubled, strings.Join(texts, "; ")
	s.troubled = is
	if st := s.snapshot(); st.Health == health && st.Reason == is {
		return
	}
	s.update(func(st *Status) {
		// What health checks and sessions say comes first.
		if st.Health == HealthHealthy || st.Health == HealthUnhealthy && st.Reason == was {
			setHealth(st, health, is)
		}
	})
}

// unanswered looks for calls that are older than they may get. Where none is answered for long
// the plugin is hung, which its session deals with.
func (s *supervisor) unanswered() (trouble, bool) {
	limit := s.host.config.HookTimeout
	calls, silence := s.meter.unanswered(limit)
	if calls == 0 {
		return trouble{}, false
	}
	text := fmt.Sprintf("%d calls were not answered within %s", calls, limit)
	if silence > hungAfter*limit {
		why := text + ", and no other has been for " + silence.Round(time.Second).String()
		s.hung.Store(&why)
	}
	return trouble{eventUnanswered, text, true}, true
}

// atLimits looks whether the plugin has as many processes, or uses as much of the CPU, as it may.
func (s *supervisor) atLimits() (out []trouble) {
	i := s.serving.Load()
	if i == nil {
		return nil
	}
	cell := i.where()
	if cell == nil {
		return nil
	}
	u, ok := cell.Usage()
	if !ok {
		return nil
	}
	limits := cell.Limits()
	if limits.Processes > 0 && u.Processes >= limits.Processes {
		out = append(out, trouble{eventProcesses, fmt.Sprintf("it is at its limit of %d processes and threads", limits.Processes), false})
	}
	if limits.MilliCPU > 0 && s.busy.look(cell, demand{u.CPU, cell.Waited}, limits.MilliCPU) {
		out = append(out, trouble{eventCPU, fmt.Sprintf("it uses all of the CPU that it may, %d thousandths of a core, or that others leave it", limits.MilliCPU), false})
	}
	return out
}

// flooding looks whether output was dropped lately.
func (s *supervisor) flooding() (trouble, bool) {
	dropped := s.out.droppedBytes()
	if dropped > s.dropped {
		s.dropped, s.droppedAt = dropped, now()
	}
	if s.droppedAt.IsZero() || now().Sub(s.droppedAt) > time.Minute {
		return trouble{}, false
	}
	return trouble{eventDropped, fmt.Sprintf("it writes more than %d KiB of output a second, and some was dropped", keptBytesPerSecond>>10), false}, true
}
