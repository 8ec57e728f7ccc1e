package replicas_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/replicas"
)

func TestWhichPodsGoFirst(t *testing.T) {
	now := time.Unix(10_000, 0)
	running := func(name string, readyFor time.Duration, change func(*v1.Pod)) *v1.Pod {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Spec.NodeName, p.Status.Phase = "node-"+name, v1.PodRunning
		p.CreationTimestamp = metav1.NewTime(now.Add(-time.Hour))
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-readyFor))}}
		if change != nil {
			change(p)
		}
		return p
	}
	tests := []struct {
		name        string
		first, last *v1.Pod
	}{
		{"without a node", &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, running("y", time.Minute, func(p *v1.Pod) { p.Status.Phase = v1.PodPending })},
		{"pending", running("x", time.Hour, func(p *v1.Pod) { p.Status.Phase = v1.PodPending }), running("y", time.Minute, nil)},
		{"not ready", running("x", time.Hour, func(p *v1.Pod) { p.Status.Conditions = nil }), running("y", time.Second, nil)},
		{"cheap to delete", running("x", time.Hour, func(p *v1.Pod) { p.Annotations = map[string]string{control.DeletionCost: "-5"} }), running("y", time.Second, nil)},
		{"ready for a short time", running("x", time.Second, nil), running("y", time.Hour, nil)},
		{"often restarted", running("x", time.Hour, func(p *v1.Pod) { p.Status.ContainerStatuses = []v1.ContainerStatus{{RestartCount: 3}} }), running("y", time.Hour, nil)},
		{"young", running("x", time.Hour, func(p *v1.Pod) { p.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute)) }), running("y", time.Hour, nil)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, list := range [][]*v1.Pod{{tt.first, tt.last}, {tt.last, tt.first}} {
				got := replicas.LeastUseful(list, list, 1, now)
				if len(got) != 1 || got[0] != tt.first {
					t.Errorf("order %d: %s goes first", i, got[0].Name)
				}
			}
		})
	}
	crowded := []*v1.Pod{running("a", time.Hour, nil), running("b", time.Hour, nil), running("c", time.Hour, nil)}
	crowded[1].Spec.NodeName, crowded[2].Spec.NodeName = "same", "same"
	for range 3 {
		if got := replicas.LeastUseful(crowded, crowded, 1, now)[0].Name; got == "a" {
			t.Error("the pod alone on its node goes before those that share one")
		}
		crowded = append(crowded[1:], crowded[0])
	}
}
