package host

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestSumUp(t *testing.T) {
	ok := func(node string) nodeState {
		return nodeState{node: node, health: HealthHealthy, generation: 3, version: "1.0.0"}
	}
	with := func(s nodeState, f func(*nodeState)) nodeState { f(&s); return s }
	for _, tc := range []struct {
		name       string
		entry      Spec
		on, away   []nodeState
		settled    bool
		health     Health
		reason     string
		upgraded   string // its reason
		lastRecord RevisionState
	}{
		{name: "on no node", settled: true, health: HealthPending, reason: "no node has said yet"},
		{name: "on all", on: []nodeState{ok("a"), ok("b")}, settled: true, health: HealthHealthy, reason: "runs on 2 nodes", upgraded: "Serving", lastRecord: RevisionServing},
		{
			name: "on one that is there", on: []nodeState{ok("a")}, away: []nodeState{{node: "b"}, {node: "c"}},
			settled: true, health: HealthHealthy, reason: "runs on 1 node; not ready: b, c", upgraded: "Serving", lastRecord: RevisionServing,
		},
		{
			name: "one has not heard of it", on: []nodeState{ok("a"), with(ok("b"), func(s *nodeState) { s.generation = 2 })},
			health: HealthHealthy, reason: "runs on 2 nodes", upgraded: "InProgress",
		},
		{
			name: "one is at it", on: []nodeState{ok("a"), with(ok("b"), func(s *nodeState) { s.upgrade = "InProgress" })},
			health: HealthHealthy, reason: "runs on 2 nodes", upgraded: "InProgress",
		},
		{
			name: "one went back", on: []nodeState{ok("a"), with(ok("b"), func(s *nodeState) { s.upgrade, s.upgradeMessage = "RolledBack", "it died" })},
			health: HealthHealthy, reason: "runs on 2 nodes", upgraded: "RolledBack", lastRecord: RevisionRolledBack,
		},
		{
			name: "the worst counts", on: []nodeState{
				with(ok("a"), func(s *nodeState) { s.health, s.reason = HealthStarting, "starting" }), ok("b"),
				with(ok("c"), func(s *nodeState) { s.health, s.reason = HealthBackOff, "it died" }),
			},
			health: HealthBackOff, reason: "on node c: it died (runs on 1 of 3 nodes)",
		},
		{name: "disabled", entry: Spec{Disabled: true}, on: []nodeState{with(ok("a"), func(s *nodeState) { s.health = HealthDisabled })}, settled: true, health: HealthDisabled, reason: disabledReason},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := Status{ObservedGeneration: 3, History: []Revision{{Number: 4, State: RevisionServing, Version: "0.9.0", SHA256: "x"}}}
			if got := st.sumUp(tc.entry, tc.on, tc.away); got != tc.settled {
				t.Errorf("settled: %v", got)
			}
			if st.Health != tc.health || !strings.HasPrefix(st.Reason, tc.reason) {
				t.Errorf("%s: %s", st.Health, st.Reason)
			}
			if c, _ := st.Condition(ConditionUpgraded); c.Reason != tc.upgraded || c.Status != (tc.upgraded == "Serving") {
				t.Errorf("upgraded: %+v", c)
			}
			last := st.History[len(st.History)-1]
			if tc.lastRecord == "" && len(st.History) != 1 || tc.lastRecord != "" && (last.State != tc.lastRecord || last.Number != 5) {
				t.Errorf("history: %+v", st.History)
			}
			// Said once is not said again.
			tree := statusTree(&st)
			object := map[string]any{"status": mergedInto(map[string]any{}, tree)}
			if !saysAlready(object, tree) {
				t.Error("what it says is not what it has said")
			}
			again := Status{ObservedGeneration: 3, History: historyOf(object), Conditions: conditionsOf(object)}
			again.sumUp(tc.entry, tc.on, tc.away)
			if !saysAlready(object, statusTree(&again)) {
				t.Errorf("the same says %s\nand then %s", mustJSON(tree), mustJSON(statusTree(&again)))
			}
		})
	}
}

// mergedInto is what a merge patch makes of a tree.
func mergedInto(tree, patch map[string]any) map[string]any {
	for k, v := range patch {
		if v != nil {
			tree[k] = v
		}
	}
	return tree
}

func TestNodeStateIsReadFromItsObject(t *testing.T) {
	st := Status{
		Name: "p", Object: "p.n", Health: HealthBackOff, Reason: "it died", Version: "1.2.3", ObservedGeneration: 7,
		Points: nil,
	}
	st.setCondition(ConditionUpgraded, false, "Refused", "of no use")
	object := map[string]any{
		"metadata": map[string]any{"name": "p.n"}, "spec": map[string]any{"node": "n"}, "status": mergedInto(map[string]any{}, statusTree(&st)),
	}
	got := nodeStateOf(&unstructured.Unstructured{Object: object})
	if got.object != "p.n" || got.node != "n" || got.health != HealthBackOff || got.reason != "it died" || got.version != "1.2.3" ||
		got.generation != 7 || got.upgrade != "Refused" || got.upgradeMessage != "of no use" {
		t.Errorf("%+v", got)
	}
	// What informers keep says the same.
	kept, err := keep([]string{"spec"}, []string{"status", "health"}, []string{"status", "reason"}, []string{"status", "version"},
		[]string{"status", "observedGeneration"}, []string{"status", "conditions"}, []string{"status", "extensionPoints"})(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	if again := nodeStateOf(objectOf(kept)); mustJSON(again.reason) != mustJSON(got.reason) || again.generation != got.generation || !slices.Equal(again.points, got.points) || again.upgrade != got.upgrade {
		t.Errorf("%+v", again)
	}
}

func TestNothingRunsOnANodeBeforeServersHaveDoneTheirPart(t *testing.T) {
	object := func(generation, observed int64, conditions ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"generation": generation},
			"status":   map[string]any{"observedGeneration": observed, "conditions": conditions},
		}}
	}
	granted := map[string]any{"type": ConditionGranted, "status": "False"}
	for _, tc := range []struct {
		u    *unstructured.Unstructured
		want bool
	}{
		{object(1, 0), false},
		{object(2, 1, granted), false},
		{object(2, 2), false}, // it was refused
		{object(2, 2, granted), true},
	} {
		if got := isPrepared(tc.u); got != tc.want {
			t.Errorf("%v: %v", tc.u.Object, got)
		}
	}
}
