package extend_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/extend"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// TestMirrorIsTheSnapshot: whatever happens to the snapshot, the mirror shows its nodes as they
// are, and what has not changed is the same pointer, which is what spares sending it.
func TestMirrorIsTheSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snapshot, mirror := cache.New(), &extend.Mirror{}
		usage := false
		type shown struct {
			slot int
			from *model.Node
			node *scheduling.Node
		}
		before := map[string]shown{}
		t.Repeat(map[string]func(*rapid.T){
			"node": func(t *rapid.T) {
				name := nodes.Draw(t, "name")
				snapshot.SetNode(&model.Node{
					ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{"l": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "label")}},
					Allocatable: model.Resources{MilliCPU: 4000}, AllowedPods: 10,
				})
			},
			"no node": func(t *rapid.T) { snapshot.RemoveNode(nodes.Draw(t, "name")) },
			"pod": func(t *rapid.T) {
				snapshot.Assume(&model.Pod{
					ObjectMeta: metav1.ObjectMeta{UID: types.UID(pods.Draw(t, "pod"))}, NodeName: nodes.Draw(t, "on"),
					Requests: model.Resources{MilliCPU: 100}, Constraints: &model.Constraints{},
				})
			},
			"no pod": func(t *rapid.T) { snapshot.Remove(types.UID(pods.Draw(t, "pod"))) },
			"usage":  func(*rapid.T) { usage = true },
			"": func(t *rapid.T) {
				view := mirror.Update(snapshot, usage)
				again := mirror.Update(snapshot, usage)
				for slot, n := range snapshot.Slots() {
					got := view.Nodes[slot]
					if n == nil || n.Node == nil {
						if got != nil {
							t.Fatalf("slot %d: %s is not there", slot, got.Name)
						}
						continue
					}
					if got == nil || got.Name != n.Name || got.Labels["l"] != n.Node.Labels["l"] || got.Allocatable.Cpu().MilliValue() != 4000 {
						t.Fatalf("slot %d: %+v, want %s with %v", slot, got, n.Name, n.Node.Labels)
					}
					if again.Nodes[slot] != got {
						t.Fatalf("%s is another without a change", n.Name)
					}
					now := shown{slot: slot, from: n.Node, node: got}
					if old, ok := before[n.Name]; ok && old.slot == slot && old.from == n.Node && old.node != got {
						t.Fatalf("%s is told again without a change", n.Name)
					}
					before[n.Name] = now
					if !usage {
						continue
					}
					if u := view.Usage[slot]; u == nil || u.Pods != len(n.Pods) || u.Requested.Cpu().MilliValue() != n.Requested.MilliCPU {
						t.Fatalf("%s has %d pods, shown is %+v", n.Name, len(n.Pods), u)
					}
				}
			},
		})
	})
}

var (
	nodes = rapid.SampledFrom([]string{"a", "b", "c", "d"})
	pods  = rapid.SampledFrom([]string{"1", "2", "3", "4", "5"})
)
