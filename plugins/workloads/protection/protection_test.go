package protection_test

import (
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/protection"
)

var build = controltest.All(controltest.One(protection.NewClaims), controltest.One(protection.NewVolumes))

var gone = metav1.NewTime(time.Unix(1, 0))

func claim(deleted bool, finalizers ...string) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default", UID: "c", Finalizers: finalizers}}
	if deleted {
		c.DeletionTimestamp = &gone
	}
	return c
}

func user(node string, phase v1.PodPhase, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "p"},
		Spec: v1.PodSpec{NodeName: node, Volumes: []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{
			PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"},
		}}}},
		Status: v1.PodStatus{Phase: phase},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

const claimFinalizer, volumeFinalizer = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"

func TestClaims(t *testing.T) {
	owned := claim(true, claimFinalizer)
	owned.Name, owned.OwnerReferences = "p-v", []metav1.OwnerReference{{Kind: "Pod", Name: "p", UID: "p", Controller: new(bool)}}
	*owned.OwnerReferences[0].Controller = true
	ephemeral := func(p *v1.Pod) {
		p.Spec.Volumes[0].VolumeSource = v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}
	}
	goingFor := func(seconds int64) func(*v1.Pod) {
		return func(p *v1.Pod) { p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &gone, &seconds }
	}
	tests := []struct {
		name      string
		claim     *v1.PersistentVolumeClaim
		pod       *v1.Pod
		protected bool
	}{
		{"new", claim(false), nil, true},
		{"deleted, unused", claim(true, claimFinalizer, "other"), nil, false},
		{"deleted, used", claim(true, claimFinalizer), user("n", v1.PodRunning), true},
		{"deleted, used by a pod that has ended", claim(true, claimFinalizer), user("n", v1.PodSucceeded), true},
		{"deleted, used by a pod without a node", claim(true, claimFinalizer), user("", v1.PodPending), false},
		{"ephemeral, used", owned, user("n", v1.PodRunning, ephemeral), true},
		{"ephemeral, its pod is going", owned, user("n", v1.PodRunning, ephemeral, goingFor(30)), true},
		{"ephemeral, its pod waits for it", owned, user("n", v1.PodRunning, ephemeral, goingFor(0)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			objects := []runtime.Object{tt.claim.DeepCopy()}
			if tt.pod != nil {
				objects = append(objects, tt.pod)
			}
			controltest.Run(t, objects, build, func(e *controltest.Env) {
				got, err := e.Client.CoreV1().PersistentVolumeClaims("default").Get(e.Ctx, tt.claim.Name, metav1.GetOptions{})
				if err != nil {
					if tt.protected {
						e.Fatal(err)
					}
					return // the last finalizer has gone, and the claim with it
				}
				if slices.Contains(got.Finalizers, claimFinalizer) != tt.protected {
					e.Errorf("finalizers: %v", got.Finalizers)
				}
			})
		})
	}
}

func TestAClaimFollowsItsLastUser(t *testing.T) {
	controltest.Run(t, []runtime.Object{claim(true, claimFinalizer), user("n", v1.PodRunning)}, build, func(e *controltest.Env) {
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "p")
		e.Settle()
		if got, err := e.Client.CoreV1().PersistentVolumeClaims("default").Get(e.Ctx, "c", metav1.GetOptions{}); err == nil && len(got.Finalizers) > 0 {
			e.Errorf("finalizers: %v", got.Finalizers)
		}
	})
}

func TestVolumes(t *testing.T) {
	tests := []struct {
		name       string
		finalizers []string
		deleted    bool
		phase      v1.PersistentVolumePhase
		protected  bool
	}{
		{"new", nil, false, v1.VolumePending, true},
		{"deleted, bound", []string{volumeFinalizer}, true, v1.VolumeBound, true},
		{"deleted, released", []string{volumeFinalizer, "other"}, true, v1.VolumeReleased, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pv := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v", UID: "v", Finalizers: tt.finalizers}, Status: v1.PersistentVolumeStatus{Phase: tt.phase}}
			if tt.deleted {
				pv.DeletionTimestamp = &gone
			}
			controltest.Run(t, []runtime.Object{pv}, build, func(e *controltest.Env) {
				got := controltest.Get(e, e.Client.CoreV1().PersistentVolumes(), "v")
				if slices.Contains(got.Finalizers, volumeFinalizer) != tt.protected {
					e.Errorf("finalizers: %v", got.Finalizers)
				}
			})
		})
	}
}
