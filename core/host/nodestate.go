package host

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// nodeState is how a plugin is on one node, as the host there says.
type nodeState struct {
	object, node, version, reason string
	health                        Health
	points                        []protocol.Point
	requested                     []policyRule
	generation                    int64
	// upgrade is the reason of the condition Upgraded where that is false.
	upgrade, upgradeMessage string
}

func nodeStateOf(u *unstructured.Unstructured) nodeState {
	word := func(path ...string) string { s, _ := lookup(u.Object, path...).(string); return s }
	s := nodeState{
		object: u.GetName(), node: word("spec", "node"), version: word("status", "version"),
		health: Health(word("status", "health")), reason: word("status", "reason"),
	}
	s.generation, _ = lookup(u.Object, "status", "observedGeneration").(int64)
	if c := conditionOf(u.Object, ConditionUpgraded); c != nil && c["status"] == string(metav1.ConditionFalse) {
		s.upgrade, _ = c["reason"].(string)
		s.upgradeMessage, _ = c["message"].(string)
	}
	points, _ := lookup(u.Object, "status", "extensionPoints").([]any)
	for _, p := range points {
		if text, ok := p.(string); ok {
			s.points = append(s.points, protocol.Point(text))
		}
	}
	if rules := lookup(u.Object, "status", "requestedPermissions"); rules != nil {
		_ = json.Unmarshal([]byte(mustJSON(rules)), &s.requested) // it has the type's schema
	}
	return s
}

// askedFor says which permissions a plugin asks for of which no manifest tells: those that nodes
// report. Nodes are not believed further than that: what is granted is in the entry, rule by rule.
func (st *Status) askedFor(e Spec, states []nodeState) {
	if e.FirstParty() || e.Source.Path == "" {
		return
	}
	for _, s := range states {
		st.Requested = union(st.Requested, s.requested)
	}
	e.Grant = false
	st.Granted, st.PendingPermissions = e.granted(st.Requested)
}

// severity orders what is said of a plugin that is not the same on all nodes.
var severity = map[Health]int{
	HealthHealthy: 0, HealthStandby: 0, HealthDisabled: 0, HealthStarting: 1, HealthPending: 2,
	HealthStopped: 3, HealthUnhealthy: 4, HealthBackOff: 5, HealthRefused: 6,
}

// sumUp makes the status one of a plugin that runs on nodes, of which some are away. It
// reports whether nothing of another generation may still run.
func (st *Status) sumUp(e Spec, states, away []nodeState) (settled bool) {
	var (
		behind []string
		failed *nodeState
		worst  nodeState
		good   int
	)
	for i := range states {
		s := &states[i]
		switch {
		case s.generation < st.ObservedGeneration, s.upgrade == "InProgress":
			behind = append(behind, s.node)
		case s.upgrade != "" && failed == nil:
			failed = s
		}
		if i == 0 || severity[s.health] > severity[worst.health] {
			worst = *s
		}
		if severity[s.health] == 0 {
			good++
		}
		if st.Version == "" || e.Source.Path != "" {
			st.Version = s.version
		}
		if len(s.points) > 0 {
			st.Points = s.points
		}
	}
	switch {
	case e.Disabled:
		st.Health, st.Reason = HealthDisabled, disabledReason
	case len(states) == 0:
		st.Health, st.Reason = HealthPending, "no node has said yet that it runs it"
	case good == len(states):
		st.Health, st.Reason = HealthHealthy, "runs on "+count(good, "node")
	default:
		st.Health = worst.health
		st.Reason = fmt.Sprintf("on node %s: %s (runs on %d of %s)", worst.node, worst.reason, good, count(len(states), "node"))
	}
	if len(away) > 0 {
		names := make([]string, 0, len(away))
		for _, s := range away {
			names = append(names, s.node)
		}
		st.Reason += "; not ready: " + strings.Join(names, ", ")
	}
	r := Revision{
		Version: st.Version, Source: entry{Spec: e}.origin(), SHA256: st.SHA256, Digest: st.Digest, At: now(), Spec: e.Wish,
	}
	switch {
	case e.Disabled, len(states) == 0:
		return true
	case failed != nil:
		st.setCondition(ConditionUpgraded, false, failed.upgrade, "on node "+failed.node+": "+failed.upgradeMessage)
		r.State, r.Reason = RevisionState(failed.upgrade), failed.upgradeMessage
		if r.State == RevisionRefused || r.State == RevisionRolledBack {
			st.record(r)
		}
		return false
	case len(behind) > 0:
		st.setCondition(ConditionUpgraded, false, "InProgress", "not yet on "+strings.Join(behind, ", "))
		return false
	case st.Health != HealthHealthy:
		return false
	}
	r.State = RevisionServing
	st.record(r)
	st.conclude("")
	return true
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// conditionsOf reads the conditions out of an object's status.
func conditionsOf(object map[string]any) []Condition {
	list, _ := lookup(object, "status", "conditions").([]any)
	var out []Condition
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		word := func(key string) string { s, _ := m[key].(string); return s }
		c := Condition{Type: word("type"), Status: word("status") == string(metav1.ConditionTrue), Reason: word("reason"), Message: word("message")}
		c.Since, _ = time.Parse(time.RFC3339, word("lastTransitionTime"))
		out = append(out, c)
	}
	return out
}

// saysAlready reports whether an object's status is what a merge patch would make it.
func saysAlready(object, patch map[string]any) bool {
	have, _ := object["status"].(map[string]any)
	for k, v := range patch {
		if v == nil && have[k] == nil {
			continue
		}
		if mustJSON(v) != mustJSON(have[k]) {
			return false
		}
	}
	return true
}

// sleep waits, or less where ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
