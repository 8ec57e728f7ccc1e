package core

import (
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Cells implements resource.Printer.
func (Pods) Cells(pod map[string]any) []any {
	spec, status := tree.Map(pod, "spec"), tree.Map(pod, "status")
	s := podState{spec: spec, status: status}
	s.run(tree.Str(tree.Map(pod, "metadata"), "deletionTimestamp") != "")

	restarts := strconv.FormatInt(s.restarts, 10)
	if s.restarts != 0 && !s.lastRestart.IsZero() {
		restarts += " (" + duration.HumanDuration(time.Since(s.lastRestart)) + " ago)"
	}
	ip := ""
	if ips := tree.List(status, "podIPs"); len(ips) > 0 {
		ip = tree.Str(tree.Object(ips[0]), "ip")
	}
	return []any{
		fmt.Sprintf("%d/%d", s.ready, s.total), s.reason, restarts, show.Age(pod),
		show.Or(ip, show.None), show.Or(tree.Str(spec, "nodeName"), show.None),
		show.Or(tree.Str(status, "nominatedNodeName"), show.None), readinessGates(spec, status),
	}
}

func readinessGates(spec, status map[string]any) string {
	gates := tree.List(spec, "readinessGates")
	if len(gates) == 0 {
		return show.None
	}
	open := 0
	for _, g := range gates {
		if show.Condition(status, tree.Str(tree.Object(g), "conditionType")) == "True" {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(gates))
}

// podState is the word for what a pod is doing, with its counts.
type podState struct {
	spec, status    map[string]any
	ready, total    int
	restarts        int64
	lastRestart     time.Time
	reason          string
	sidecarRestarts int64
	sidecarRestart  time.Time
}

func (s *podState) run(deleting bool) {
	phase, why := tree.Str(s.status, "phase"), tree.Str(s.status, "reason")
	s.reason = show.Or(why, phase)
	for _, v := range tree.List(s.status, "conditions") {
		if c := tree.Object(v); tree.Str(c, "type") == "PodScheduled" && tree.Str(c, "reason") == "SchedulingGated" {
			s.reason = "SchedulingGated"
		}
	}
	s.total = len(tree.List(s.spec, "containers"))
	if initializing := s.initContainers(); !initializing || show.Condition(s.status, "Initialized") == "True" {
		s.restarts, s.lastRestart = s.sidecarRestarts, s.sidecarRestart
		s.containers()
	}
	switch {
	case deleting && why == "NodeLost":
		s.reason = "Unknown"
	case deleting && phase != "Succeeded" && phase != "Failed":
		s.reason = "Terminating"
	}
}

// initContainers reads the init containers up to the first that has not ended well, and
// reports whether there is one.
func (s *podState) initContainers() bool {
	list := tree.List(s.spec, "initContainers")
	sidecars := map[string]bool{}
	for _, v := range list {
		if c := tree.Object(v); tree.Str(c, "restartPolicy") == "Always" {
			sidecars[tree.Str(c, "name")] = true
			s.total++
		}
	}
	for i, v := range tree.List(s.status, "initContainerStatuses") {
		c := tree.Object(v)
		sidecar := sidecars[tree.Str(c, "name")]
		s.count(c, sidecar)
		state := tree.Map(c, "state")
		terminated, waiting := tree.Map(state, "terminated"), tree.Map(state, "waiting")
		switch {
		case terminated != nil && tree.Int0(terminated, "exitCode") == 0:
			continue
		case sidecar && tree.Bool(c, "started"):
			if tree.Bool(c, "ready") {
				s.ready++
			}
			continue
		case terminated != nil:
			s.reason = "Init:" + ending(terminated)
		case tree.Str(waiting, "reason") != "" && tree.Str(waiting, "reason") != "PodInitializing":
			s.reason = "Init:" + tree.Str(waiting, "reason")
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(list))
		}
		return true
	}
	return false
}

func (s *podState) count(c map[string]any, sidecar bool) {
	n := tree.Int0(c, "restartCount")
	at := show.Time(tree.Str(tree.In(c, "lastState", "terminated"), "finishedAt"))
	s.restarts += n
	if s.lastRestart.Before(at) {
		s.lastRestart = at
	}
	if sidecar {
		s.sidecarRestarts += n
		if s.sidecarRestart.Before(at) {
			s.sidecarRestart = at
		}
	}
}

func (s *podState) containers() {
	running, failed := false, ""
	list := tree.List(s.status, "containerStatuses")
	for i := len(list) - 1; i >= 0; i-- {
		c := tree.Object(list[i])
		s.count(c, false)
		state := tree.Map(c, "state")
		terminated := tree.Map(state, "terminated")
		switch {
		case tree.Str(tree.Map(state, "waiting"), "reason") != "":
			s.reason = tree.Str(tree.Map(state, "waiting"), "reason")
		case terminated != nil:
			s.reason = ending(terminated)
			if tree.Int0(terminated, "exitCode") != 0 {
				failed = s.reason
			}
		case tree.Bool(c, "ready") && tree.Map(state, "running") != nil:
			running = true
			s.ready++
		}
	}
	if s.reason != "Completed" {
		return
	}
	switch {
	case running && show.Condition(s.status, "Ready") == "True":
		s.reason = "Running"
	case failed != "":
		s.reason = failed
	case running:
		s.reason = "NotReady"
	}
}

func ending(terminated map[string]any) string {
	if reason := tree.Str(terminated, "reason"); reason != "" {
		return reason
	}
	if signal := tree.Int0(terminated, "signal"); signal != 0 {
		return fmt.Sprintf("Signal:%d", signal)
	}
	return fmt.Sprintf("ExitCode:%d", tree.Int0(terminated, "exitCode"))
}
