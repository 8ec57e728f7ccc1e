package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

// The suite of plugintest holds the plugin to what every host relies on.
func TestSchedulerContract(t *testing.T) {
	plugintest.RunScheduler(t, plugintest.SchedulerCase{
		Case: plugintest.Case{BadSettings: map[string]string{`{"names":[]}`: "settings.names"}},
		New:  func() scheduler.Scheduler { return &Plugin{} },
	})
}

func node(name string, status corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}},
	}
}

func pod(name, scheduler string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{SchedulerName: scheduler},
	}
}

func TestSchedule(t *testing.T) {
	for _, tc := range []struct {
		name, pod string
		nodes     []runtime.Object
		want, err string
	}{
		{"one is ready", "ours", []runtime.Object{node("down", corev1.ConditionFalse), node("up", corev1.ConditionTrue)}, "up", ""},
		{"none is ready", "ours", []runtime.Object{node("down", corev1.ConditionUnknown)}, "", "none of 1 nodes"},
		{"another scheduler's", "theirs", []runtime.Object{node("up", corev1.ConditionTrue)}, "", ""},
		{"gone", "gone", nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := fake.NewClientset(append(tc.nodes, pod("ours", "mine"), pod("theirs", "default-scheduler"))...)
			bound := ""
			client.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				b, ok := a.(clienttesting.CreateAction).GetObject().(*corev1.Binding)
				if !ok || a.GetSubresource() != "binding" {
					return false, nil, nil
				}
				bound = b.Target.Name
				return true, b, nil
			})
			b := &binder{client: client, names: []string{"mine"}}
			err := b.schedule(t.Context(), types.NamespacedName{Namespace: "default", Name: tc.pod})
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
			if bound != tc.want {
				t.Errorf("bound to %q, want %q", bound, tc.want)
			}
		})
	}
}
