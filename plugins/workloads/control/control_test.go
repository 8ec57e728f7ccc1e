package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

func TestExpectations(t *testing.T) {
	now := time.Unix(0, 0)
	e := control.NewExpectations(func() time.Time { return now })
	if !e.Satisfied("a") {
		t.Error("nothing was asked for")
	}
	e.Expect("a", 2)
	e.Created("a", 1)
	if e.Satisfied("a") {
		t.Error("one creation is outstanding")
	}
	e.Created("a", 1)
	if !e.Satisfied("a") {
		t.Error("all was created")
	}
	e.Expect("a", 0, "x", "y")
	e.Deleted("a", "x")
	e.Deleted("a", "x")
	if e.Satisfied("a") {
		t.Error("y has not been deleted")
	}
	now = now.Add(6 * time.Minute)
	if !e.Satisfied("a") {
		t.Error("expectations last for ever")
	}
	e.Expect("a", 1)
	e.Forget("a")
	if !e.Satisfied("a") {
		t.Error("forgotten, but not satisfied")
	}
}

func TestClaim(t *testing.T) {
	kind := appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
	owner := func(uid string, deleted bool) *appsv1.ReplicaSet {
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "rs", UID: types.UID(uid)}}
		if deleted {
			rs.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		return rs
	}
	pod := func(app string, controller *appsv1.ReplicaSet) *v1.Pod {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p", Labels: map[string]string{"app": app}}}
		if controller != nil {
			p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(controller, kind)}
		}
		return p
	}
	me, other := owner("me", false), owner("other", false)
	tests := []struct {
		name  string
		owner *appsv1.ReplicaSet
		live  *appsv1.ReplicaSet // nil: the API server can't be reached
		pod   *v1.Pod
		mine  bool
		patch string // part of it, "" for none
		fails bool
	}{
		{"mine", me, me, pod("a", me), true, "", false},
		{"another's", me, me, pod("a", other), false, "", false},
		{"adopted", me, me, pod("a", nil), true, `"uid":"me"`, false},
		{"no match", me, me, pod("b", nil), false, "", false},
		{"released", me, me, pod("b", me), false, `"$patch":"delete"`, false},
		{"not adopted by one that is being deleted", owner("me", true), me, pod("a", nil), false, "", false},
		{"not adopted by one that is being deleted, as the server knows", me, owner("me", true), pod("a", nil), false, "", true},
		{"not adopted by one that was replaced", me, other, pod("a", nil), false, "", true},
		{"not adopted blindly", me, nil, pod("a", nil), false, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent string
			c := control.Claimer[*v1.Pod]{
				Owner: tt.owner, Kind: kind, Selector: labels.SelectorFromSet(labels.Set{"app": "a"}),
				Live: func(context.Context) (metav1.Object, error) {
					if tt.live == nil {
						return nil, errors.New("unreachable")
					}
					return tt.live, nil
				},
				Patch: func(_ context.Context, _ *v1.Pod, patch []byte) error {
					sent = string(patch)
					return nil
				},
			}
			got, err := c.Claim(context.Background(), []*v1.Pod{tt.pod})
			if (err != nil) != tt.fails || (len(got) == 1) != tt.mine {
				t.Errorf("claimed %d, error %v", len(got), err)
			}
			if (sent == "") != (tt.patch == "") || !strings.Contains(sent, tt.patch) {
				t.Errorf("patch: %s", sent)
			}
			if sent != "" && !strings.Contains(sent, `"uid":"p"`) {
				t.Errorf("the patch is not bound to the pod: %s", sent)
			}
		})
	}
}

func TestTrimKeepsWhatControllersRead(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p", Namespace: "n", Annotations: map[string]string{"big": "x", control.DeletionCost: "3"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}, Finalizers: []string{"f"},
		},
		Spec: v1.PodSpec{
			NodeName: "n", Volumes: []v1.Volume{{Name: "v"}},
			Containers:     []v1.Container{{Image: "i", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 80}, {ContainerPort: 81}}}},
			InitContainers: []v1.Container{{Name: "once", Ports: []v1.ContainerPort{{Name: "x"}}}, {Name: "side", RestartPolicy: &always, Ports: []v1.ContainerPort{{Name: "y"}}}},
		},
		Status: v1.PodStatus{Phase: v1.PodRunning, PodIP: "1.2.3.4", Conditions: []v1.PodCondition{{Type: v1.PodInitialized}, {Type: v1.PodReady}},
			ContainerStatuses: []v1.ContainerStatus{{Name: "a"}, {Name: "b", RestartCount: 2}}},
	}
	got, err := control.Trim(p)
	if err != nil {
		t.Fatal(err)
	}
	q := got.(*v1.Pod)
	if q.Spec.NodeName != "n" || q.Annotations[control.DeletionCost] != "3" || q.Finalizers[0] != "f" || q.Status.PodIP != "1.2.3.4" {
		t.Errorf("lost: %+v", q)
	}
	if len(q.Spec.Containers[0].Ports) != 1 || len(q.Spec.InitContainers) != 1 || q.Spec.InitContainers[0].Ports[0].Name != "y" {
		t.Errorf("ports: %+v", q.Spec)
	}
	if len(q.Status.Conditions) != 1 || len(q.Status.ContainerStatuses) != 1 {
		t.Errorf("status: %+v", q.Status)
	}
	if q.ManagedFields != nil || q.Spec.Volumes != nil || q.Annotations["big"] != "" || q.Spec.Containers[0].Image != "" {
		t.Errorf("kept: %+v", q)
	}
}
