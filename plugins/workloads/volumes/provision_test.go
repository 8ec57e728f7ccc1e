package volumes_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/sdk/storage"
)

func TestAVolumeIsMadeAndRemoved(t *testing.T) {
	m := newMemory()
	run(t, m, []runtime.Object{class("mem", driver), claim("c", 2, "mem")}, func(e *controltest.Env) {
		c := getClaim(e, "c")
		if c.Status.Phase != v1.ClaimBound || c.Spec.VolumeName != "pvc-uid-c" || c.Annotations["volume.kubernetes.io/storage-provisioner"] != driver {
			e.Fatalf("claim: %+v, events %q", c, e.Events())
		}
		pv := getVolume(e, "pvc-uid-c")
		csi := pv.Spec.CSI
		if csi == nil || csi.Driver != driver || csi.VolumeHandle != "pvc-uid-c" || csi.VolumeAttributes["in"] != "memory" ||
			pv.Annotations["pv.kubernetes.io/provisioned-by"] != driver || pv.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
			e.Errorf("volume: %+v", pv)
		}
		if !slices.Contains(e.Events(), "Normal ProvisioningSucceeded Successfully provisioned volume pvc-uid-c") {
			e.Errorf("events: %q", e.Events())
		}
		controltest.Delete(e, e.Client.CoreV1().PersistentVolumeClaims("default"), "c")
		e.SettleLate()
		if m.has("pvc-uid-c") || controltest.There(e, e.Client.CoreV1().PersistentVolumes(), "pvc-uid-c") {
			e.Errorf("the volume outlives its claim")
		}
	})
}

func TestAClaimWaitsForItsStorage(t *testing.T) {
	m := newMemory()
	m.away = true
	run(t, m, []runtime.Object{class("mem", driver), claim("c", 2, "mem")}, func(e *controltest.Env) {
		if all := strings.Join(e.Events(), "\n"); !strings.Contains(all, "Normal ExternalProvisioning Waiting for a volume to be created either by the external provisioner '"+driver+"' or manually") {
			e.Errorf("events: %s", all)
		}
		m.set(func() { m.away = false })
		e.SettleLate()
		if c := getClaim(e, "c"); c.Status.Phase != v1.ClaimBound {
			e.Errorf("claim: %+v", c.Status)
		}
	})
}

func TestAFailedCreationIsTriedAgain(t *testing.T) {
	for name, err := range map[string]error{"failed": errors.New("out of order"), "later": &storage.RetryError{Reason: "out of order", After: time.Second}} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.fail = err
			run(t, m, []runtime.Object{class("mem", driver), claim("c", 2, "mem")}, func(e *controltest.Env) {
				if all := strings.Join(e.Events(), "\n"); !strings.Contains(all, `Warning ProvisioningFailed failed to provision volume with StorageClass "mem": out of order`) {
					e.Errorf("events: %s", all)
				}
				m.mu.Lock()
				m.fail = nil
				m.mu.Unlock()
				e.Pass(time.Minute)
				if c := getClaim(e, "c"); c.Status.Phase != v1.ClaimBound {
					e.Errorf("claim: %+v", c.Status)
				}
			})
		})
	}
}

func TestWhatNoStorageIsToldOfIsRefused(t *testing.T) {
	m := newMemory()
	attributes := "gold"
	for event, change := range map[string]func(*v1.PersistentVolumeClaim){
		"claim Selector is not supported": func(c *v1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} },
		"spec.dataSource:": func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "other"}
		},
		"spec.volumeAttributesClassName:": func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeAttributesClassName = &attributes },
	} {
		run(t, m, []runtime.Object{class("mem", driver), claim("c", 2, "mem", change)}, func(e *controltest.Env) {
			all := strings.Join(e.Events(), "\n")
			if !strings.Contains(all, `Warning ProvisioningFailed failed to provision volume with StorageClass "mem": `+event) || len(m.asks) > 0 {
				e.Errorf("%s: %d volumes asked for, events %s", event, len(m.asks), all)
			}
		})
	}
}

func TestAClaimThatWaitsForItsFirstConsumer(t *testing.T) {
	m := newMemory()
	m.keys = []string{v1.LabelHostname}
	run(t, m, []runtime.Object{node("n1"), class("mem", driver, delayed), claim("c", 2, "mem")}, func(e *controltest.Env) {
		claims := e.Client.CoreV1().PersistentVolumeClaims("default")
		if c := getClaim(e, "c"); c.Status.Phase != v1.ClaimPending || !slices.Contains(e.Events(), "Normal WaitForFirstConsumer waiting for first consumer to be created before binding") {
			e.Errorf("claim %+v, events %q", c.Status, e.Events())
		}
		create(e, pod("p", "", "c"))
		e.SettleLate()
		if !slices.Contains(e.Events(), "Normal WaitForPodScheduled waiting for pod p to be scheduled") {
			e.Errorf("events: %q", e.Events())
		}
		// No room at the node that was chosen: another is to be.
		m.mu.Lock()
		m.fail = storage.ErrExhausted
		m.mu.Unlock()
		choose := func() {
			controltest.Change(e, claims, "c", func(c *v1.PersistentVolumeClaim) {
				metav1.SetMetaDataAnnotation(&c.ObjectMeta, "volume.kubernetes.io/selected-node", "n1")
			})
			e.SettleLate()
		}
		choose()
		if c := getClaim(e, "c"); c.Annotations["volume.kubernetes.io/selected-node"] != "" {
			e.Errorf("the node stays chosen: %v", c.Annotations)
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		choose()
		c := getClaim(e, "c")
		if c.Status.Phase != v1.ClaimBound {
			e.Fatalf("claim: %+v, events %q", c, e.Events())
		}
		affinity := getVolume(e, c.Spec.VolumeName).Spec.NodeAffinity
		if affinity == nil || affinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0] != "n1" {
			e.Errorf("affinity of its volume: %+v", affinity)
		}
		if last := m.asks[len(m.asks)-1]; last.SelectedNode != "n1" || len(last.Topologies) != 1 || last.Topologies[0][v1.LabelHostname] != "n1" {
			e.Errorf("asked for: %+v", last)
		}
	})
}

func TestAClaimThatWaitsGetsAVolumeOfItsNode(t *testing.T) {
	at := func(name string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) {
			pv.Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{name}}},
			}}}}
		}
	}
	run(t, newMemory(), []runtime.Object{
		node("n1"), node("n2"), class("local", "kubernetes.io/no-provisioner", delayed),
		volumeOf("a", 2, "local", at("n1")), volumeOf("b", 3, "local", at("n2")),
		claim("c", 2, "local", func(c *v1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "n2"}
		}),
		claim("d", 2, "local", func(c *v1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "n2"}
		}),
	}, func(e *controltest.Env) {
		if c := getClaim(e, "c"); c.Spec.VolumeName != "b" {
			e.Errorf("claim: %+v", c)
		}
		if d := getClaim(e, "d"); d.Spec.VolumeName != "" || d.Annotations["volume.kubernetes.io/selected-node"] != "" {
			e.Errorf("a claim that no volume there suits: %+v", d)
		}
	})
}

func TestAVolumeGrows(t *testing.T) {
	m := newMemory()
	run(t, m, []runtime.Object{class("mem", driver), claim("c", 1, "mem")}, func(e *controltest.Env) {
		m.mu.Lock()
		m.fail = errors.New("busy")
		m.mu.Unlock()
		controltest.Change(e, e.Client.CoreV1().PersistentVolumeClaims("default"), "c", func(c *v1.PersistentVolumeClaim) { c.Spec.Resources.Requests = gi(3) })
		e.SettleLate()
		if all := strings.Join(e.Events(), "\n"); !strings.Contains(all, `Warning VolumeResizeFailed resize volume "pvc-uid-c" by resizer "mem.example.com" failed: busy`) {
			e.Errorf("events: %s", all)
		}
		if c := getClaim(e, "c"); len(c.Status.Conditions) != 2 || c.Status.Conditions[0].Type != v1.PersistentVolumeClaimResizing {
			e.Errorf("conditions: %+v", c.Status.Conditions)
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		e.Pass(time.Minute)
		c, pv := getClaim(e, "c"), getVolume(e, "pvc-uid-c")
		if !slices.Contains(e.Events(), "Normal VolumeResizeSuccessful Resize volume succeeded") {
			e.Errorf("events: %q", e.Events())
		}
		for what, list := range map[string]v1.ResourceList{"claim": c.Status.Capacity, "volume": pv.Spec.Capacity} {
			if q := list[v1.ResourceStorage]; q.String() != "3Gi" {
				e.Errorf("size of the %s: %s", what, q.String())
			}
		}
		if len(c.Status.Conditions) != 0 || len(c.Status.AllocatedResourceStatuses) != 0 {
			e.Errorf("claim: %+v", c.Status)
		}
	})
}

func TestAVolumeIsAttachedWhileAPodNeedsIt(t *testing.T) {
	m := newMemory()
	run(t, m, []runtime.Object{node("n1"), class("mem", driver), claim("c", 1, "mem"), pod("p", "n1", "c"), pod("q", "n1", "c")}, func(e *controltest.Env) {
		id := storage.AttachmentName(driver, "pvc-uid-c", "n1")
		va := controltest.Get(e, e.Client.StorageV1().VolumeAttachments(), id)
		if !va.Status.Attached || va.Status.AttachmentMetadata["device"] != "/dev/pvc-uid-c" || va.Spec.NodeName != "n1" || va.Spec.Attacher != driver {
			e.Errorf("attachment: %+v", va)
		}
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "p")
		e.SettleLate()
		if !m.isAttached("pvc-uid-c", "n1") {
			e.Error("it is taken from the pod that stays")
		}
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "q")
		e.SettleLate()
		if m.isAttached("pvc-uid-c", "n1") || controltest.There(e, e.Client.StorageV1().VolumeAttachments(), id) {
			e.Error("it stays attached with no pod")
		}
	})
}

func TestANodeThatHasAVolumeMountedKeepsIt(t *testing.T) {
	m := newMemory()
	n := node("n1")
	n.Status.VolumesInUse = []v1.UniqueVolumeName{"kubernetes.io/csi/mem.example.com^pvc-uid-c"}
	run(t, m, []runtime.Object{n, class("mem", driver), claim("c", 1, "mem"), pod("p", "n1", "c")}, func(e *controltest.Env) {
		controltest.Delete(e, e.Client.CoreV1().Pods("default"), "p")
		e.Pass(10 * time.Second)
		if !m.isAttached("pvc-uid-c", "n1") {
			e.Error("it was taken from the node")
		}
		controltest.Change(e, e.Client.CoreV1().Nodes(), "n1", func(n *v1.Node) { n.Status.VolumesInUse = nil })
		e.Pass(10 * time.Second)
		if m.isAttached("pvc-uid-c", "n1") {
			e.Error("it stays attached")
		}
	})
}

func TestAnEphemeralVolumeHasAClaimOfItsPod(t *testing.T) {
	p := pod("p", "")
	p.Spec.Volumes = []v1.Volume{{Name: "scratch", VolumeSource: v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{
		VolumeClaimTemplate: &v1.PersistentVolumeClaimTemplate{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: claim("x", 1, "mem").Spec},
	}}}}
	run(t, newMemory(), []runtime.Object{class("mem", driver), p}, func(e *controltest.Env) {
		c := getClaim(e, "p-scratch")
		owner := metav1.GetControllerOf(c)
		if c.Status.Phase != v1.ClaimBound || c.Labels["a"] != "b" || owner == nil || owner.UID != p.UID {
			e.Errorf("claim: %+v", c)
		}
	})
}
