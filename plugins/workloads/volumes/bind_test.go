package volumes_test

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

func TestWhichVolumeAClaimGets(t *testing.T) {
	block := v1.PersistentVolumeBlock
	modes := func(m ...v1.PersistentVolumeAccessMode) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.AccessModes = m }
	}
	reserved := func(name string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) {
			pv.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "default", Name: name}
		}
	}
	tests := []struct {
		name    string
		volumes []*v1.PersistentVolume
		claim   *v1.PersistentVolumeClaim
		want    string
		event   string
	}{
		{"the smallest that fits", []*v1.PersistentVolume{volumeOf("big", 10, ""), volumeOf("fits", 5, ""), volumeOf("small", 1, "")}, claim("c", 3, ""), "fits", ""},
		{"none is large enough", []*v1.PersistentVolume{volumeOf("small", 1, "")}, claim("c", 3, ""), "", "Normal FailedBinding no persistent volumes available for this claim and no storage class is set"},
		{"of its class", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 2, "fast")}, claim("c", 1, "fast"), "b", ""},
		{"with its access mode", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 2, "", modes(v1.ReadWriteOnce, v1.ReadWriteMany))},
			claim("c", 1, "", func(c *v1.PersistentVolumeClaim) {
				c.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}
			}), "b", ""},
		{"with few modes rather than small", []*v1.PersistentVolume{volumeOf("a", 1, "", modes(v1.ReadWriteOnce, v1.ReadWriteMany)), volumeOf("b", 2, "")}, claim("c", 1, ""), "b", ""},
		{"of its mode", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 2, "", func(pv *v1.PersistentVolume) { pv.Spec.VolumeMode = &block })},
			claim("c", 1, "", func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block }), "b", ""},
		{"by its selector", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 2, "", func(pv *v1.PersistentVolume) { pv.Labels = map[string]string{"disk": "ssd"} })},
			claim("c", 1, "", func(c *v1.PersistentVolumeClaim) {
				c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": "ssd"}}
			}), "b", ""},
		{"that is reserved for it", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 9, "", reserved("c"))}, claim("c", 1, ""), "b", ""},
		{"that is reserved for another", []*v1.PersistentVolume{volumeOf("a", 1, "", reserved("d"))}, claim("c", 1, ""), "", ""},
		{"that it names", []*v1.PersistentVolume{volumeOf("a", 1, ""), volumeOf("b", 9, "")}, claim("c", 1, "", names("b")), "b", ""},
		{"it names one that is too small", []*v1.PersistentVolume{volumeOf("a", 1, "")}, claim("c", 2, "", names("a")), "", `Warning VolumeMismatch Cannot bind to requested volume "a": requested PV is too small`},
		{"it names one of another class", []*v1.PersistentVolume{volumeOf("a", 1, "x")}, claim("c", 1, "", names("a")), "", `Warning VolumeMismatch Cannot bind to requested volume "a": storageClassName does not match`},
		{"it names one that is reserved", []*v1.PersistentVolume{volumeOf("a", 1, "", reserved("d"))}, claim("c", 1, "", names("a")), "", `Warning FailedBinding volume "a" already bound to a different claim.`},
		{"its class is not there", nil, claim("c", 1, "none"), "", `Warning ProvisioningFailed storageclass.storage.k8s.io "none" not found`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var objects []runtime.Object
			for _, pv := range tt.volumes {
				objects = append(objects, pv)
			}
			run(t, newMemory(), objects, func(e *controltest.Env) {
				create(e, tt.claim)
				e.SettleLate()
				c := getClaim(e, "c")
				if tt.event != "" && !strings.Contains(strings.Join(e.Events(), "\n"), tt.event) {
					e.Errorf("events %q", e.Events())
				}
				if tt.want == "" {
					if c.Status.Phase != v1.ClaimPending || c.Annotations["pv.kubernetes.io/bind-completed"] != "" {
						e.Errorf("it is %s with volume %q", c.Status.Phase, c.Spec.VolumeName)
					}
					return
				}
				pv := getVolume(e, tt.want)
				if c.Spec.VolumeName != tt.want || c.Status.Phase != v1.ClaimBound || c.Annotations["pv.kubernetes.io/bind-completed"] != "yes" {
					e.Fatalf("claim: %+v", c)
				}
				if size := c.Status.Capacity[v1.ResourceStorage]; size.Cmp(pv.Spec.Capacity[v1.ResourceStorage]) != 0 {
					e.Errorf("capacity %s", size.String())
				}
				if pv.Status.Phase != v1.VolumeBound || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != c.UID {
					e.Errorf("volume: %+v", pv)
				}
				byUs := tt.claim.Spec.VolumeName == ""
				if (c.Annotations["pv.kubernetes.io/bound-by-controller"] == "yes") != byUs {
					e.Errorf("annotations of the claim: %v", c.Annotations)
				}
			})
		})
	}
}

func names(volume string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = volume }
}

func TestAVolumeOutlivesItsClaim(t *testing.T) {
	run(t, newMemory(), []runtime.Object{volumeOf("a", 1, ""), claim("c", 1, "")}, func(e *controltest.Env) {
		if pv := getVolume(e, "a"); pv.Status.Phase != v1.VolumeBound {
			e.Fatalf("volume: %+v", pv.Status)
		}
		controltest.Delete(e, e.Client.CoreV1().PersistentVolumeClaims("default"), "c")
		e.SettleLate()
		if pv := getVolume(e, "a"); pv.Status.Phase != v1.VolumeReleased || pv.Spec.ClaimRef == nil {
			e.Errorf("volume of a claim that is gone: %+v", pv)
		}
		// Another claim of that name does not get it, as it may hold what was another's.
		other := claim("c", 1, "")
		other.UID = "other"
		create(e, other)
		e.SettleLate()
		if c := getClaim(e, "c"); c.Status.Phase != v1.ClaimPending {
			e.Errorf("a claim of the same name: %+v", c.Status)
		}
	})
}

func TestAClaimIsLostWithItsVolume(t *testing.T) {
	run(t, newMemory(), []runtime.Object{volumeOf("a", 1, ""), claim("c", 1, "")}, func(e *controltest.Env) {
		controltest.Delete(e, e.Client.CoreV1().PersistentVolumes(), "a")
		e.SettleLate()
		if c := getClaim(e, "c"); c.Status.Phase != v1.ClaimLost {
			e.Errorf("claim: %+v", c.Status)
		}
		if all := strings.Join(e.Events(), "\n"); !strings.Contains(all, "Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!") {
			e.Errorf("events: %s", all)
		}
	})
}

func TestTheDefaultClassIsGivenLater(t *testing.T) {
	none := claim("c", 1, "")
	none.Spec.StorageClassName = nil
	run(t, newMemory(), []runtime.Object{none}, func(e *controltest.Env) {
		create(e, class("standard", driver, isDefault))
		e.SettleLate()
		c := getClaim(e, "c")
		if c.Spec.StorageClassName == nil || *c.Spec.StorageClassName != "standard" || c.Status.Phase != v1.ClaimBound {
			e.Errorf("claim: %+v", c)
		}
	})
}
