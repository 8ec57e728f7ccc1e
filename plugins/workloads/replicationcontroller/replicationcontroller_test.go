package replicationcontroller_test

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/replicationcontroller"
)

var build = controltest.One(replicationcontroller.New)

var appLabels = map[string]string{"app": "a"}

func controller(replicas int32) *v1.ReplicationController {
	return &v1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Name: "rc", Namespace: "default", UID: "rc-uid", Generation: 3},
		Spec: v1.ReplicationControllerSpec{
			Replicas: &replicas, Selector: appLabels,
			Template: &v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: appLabels}},
		},
	}
}

func get(e *controltest.Env) *v1.ReplicationController {
	return controltest.Get(e, e.Client.CoreV1().ReplicationControllers("default"), "rc")
}

func TestMakesAndReleasesPods(t *testing.T) {
	controltest.Run(t, []runtime.Object{controller(2)}, build, func(e *controltest.Env) {
		list := e.Pods()
		if len(list) != 2 {
			e.Fatalf("%d pods", len(list))
		}
		ref := metav1.GetControllerOf(&list[0])
		if ref == nil || ref.Kind != "ReplicationController" || ref.APIVersion != "v1" || ref.UID != "rc-uid" || !strings.HasPrefix(list[0].Name, "rc-") {
			e.Errorf("pod: %+v", list[0].ObjectMeta)
		}
		if s := get(e).Status; s.Replicas != 2 || s.FullyLabeledReplicas != 2 || s.ObservedGeneration != 3 {
			e.Errorf("status: %+v", s)
		}
		list[0].Labels = map[string]string{"app": "other"}
		controltest.Update(e, e.Client.CoreV1().Pods("default"), &list[0])
		e.Settle()
		all := e.Pods()
		free := 0
		for i := range all {
			if metav1.GetControllerOf(&all[i]) == nil {
				free++
			}
		}
		if len(all) != 3 || free != 1 {
			e.Errorf("%d pods, %d of them released", len(all), free)
		}
	})
}

func TestStatusIsWrittenOnlyWhenItDiffers(t *testing.T) {
	controltest.Run(t, []runtime.Object{controller(1)}, build, func(e *controltest.Env) {
		e.Client.ClearActions()
		rc := get(e)
		rc.Annotations = map[string]string{"a": "b"}
		controltest.Update(e, e.Client.CoreV1().ReplicationControllers("default"), rc)
		e.Settle()
		for _, a := range e.Client.Actions() {
			if a.GetSubresource() == "status" {
				e.Errorf("written: %v", a)
			}
		}
	})
}

func TestFailureConditionComesAndGoes(t *testing.T) {
	controltest.Run(t, nil, build, func(e *controltest.Env) {
		full := true
		e.Client.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return full, nil, errors.New("exceeded quota: q")
		})
		controltest.Create(e, e.Client.CoreV1().ReplicationControllers("default"), controller(3))
		e.Settle()
		c := get(e).Status.Conditions
		if len(c) != 1 || c[0].Type != v1.ReplicationControllerReplicaFailure || c[0].Status != v1.ConditionTrue || c[0].Reason != "FailedCreate" || !strings.Contains(c[0].Message, "exceeded quota") {
			e.Fatalf("conditions: %+v", c)
		}
		full = false
		rc := get(e)
		*rc.Spec.Replicas = 1
		controltest.Update(e, e.Client.CoreV1().ReplicationControllers("default"), rc)
		e.Settle()
		if s := get(e).Status; len(s.Conditions) != 0 || s.Replicas != 1 {
			e.Errorf("status: %+v", s)
		}
	})
}
