package podgc_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/podgc"
)

func pod(name, node string, phase v1.PodPhase, age int) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", CreationTimestamp: metav1.NewTime(time.Unix(int64(10000-age), 0))},
		Spec:       v1.PodSpec{NodeName: node}, Status: v1.PodStatus{Phase: phase},
	}
}

func TestCollects(t *testing.T) {
	never := pod("never-placed", "", v1.PodPending, 0)
	never.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	never.Finalizers = []string{"example.com/f"} // a fake API keeps no deleted object without
	objects := []runtime.Object{
		&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}}, never,
		pod("fine", "here", v1.PodRunning, 0), pod("waiting", "", v1.PodPending, 0), pod("lost", "gone", v1.PodRunning, 0),
	}
	for i := range 5 {
		objects = append(objects, pod(fmt.Sprint("done-", i), "here", v1.PodSucceeded, i))
	}
	build := controltest.One(func(kit control.Kit) (*podgc.Controller, error) { return podgc.New(kit, 3) })
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		// The pod of a node that was just lost gets some time.
		if got, want := e.PodNames(), []string{"done-0", "done-1", "done-2", "fine", "lost", "waiting"}; !slices.Equal(got, want) {
			e.Errorf("at first: %v", got)
		}
		e.Pass(70 * time.Second)
		if got, want := e.PodNames(), []string{"done-0", "done-1", "done-2", "fine", "waiting"}; !slices.Equal(got, want) {
			e.Errorf("in the end: %v", got)
		}
	})
}
