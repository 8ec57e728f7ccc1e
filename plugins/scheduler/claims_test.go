package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
)

// claimed is a pod with a claim.
func claimed(name, claim string) string {
	return strings.Replace(pod(name, "1"), `"containers"`, fmt.Sprintf(`"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":%q}}],"containers"`, claim), 1)
}

// hosted is a node with its name as a label.
func hosted(name string) string {
	return strings.Replace(node(name, "4"), `"metadata":{`, fmt.Sprintf(`"metadata":{"labels":{"kubernetes.io/hostname":%q},`, name), 1)
}

func pvc(name, class, volume, annotations string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"default","uid":%q,"annotations":{%s}},
		"spec":{"storageClassName":%q,"volumeName":%q,"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}},"status":{"phase":"Pending"}}`,
		name, name, annotations, class, volume)
}

const isBound = `"pv.kubernetes.io/bind-completed":"yes"`

func pv(name, class, node, phase string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"uid":%q},"spec":{"storageClassName":%q,"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},
		"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":[%q]}]}]}}},"status":{"phase":%q}}`,
		name, name, class, node, phase)
}

func storageClass(name, provisioner, mode string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"provisioner":%q,"volumeBindingMode":%q}`, name, provisioner, mode)
}

func TestAPodGoesWhereItsVolumeIs(t *testing.T) {
	t.Parallel()
	f := newFakeAPI(t)
	for _, n := range []string{"n1", "n2", "n3"} {
		f.set(t, "nodes", hosted(n))
	}
	f.set(t, "persistentvolumes", pv("v", "", "n2", "Bound"))
	f.set(t, "persistentvolumeclaims", pvc("data", "", "v", isBound))
	f.set(t, "pods", claimed("p", "data"))
	start(t, f)
	f.wait(func() bool { return f.bindings["default/p"] == "n2" })
}

func TestWhyAPodWaitsForItsVolumes(t *testing.T) {
	t.Parallel()
	const all = "False Unschedulable 0/1 nodes are available: "
	f := newFakeAPI(t)
	f.set(t, "nodes", hosted("n1"))
	f.set(t, "storageclasses", storageClass("now", "mem.example.com", "Immediate"))
	f.set(t, "storageclasses", storageClass("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"))
	f.set(t, "persistentvolumes", pv("far", "", "n2", "Bound"))
	for claim, raw := range map[string]string{
		"unbound": pvc("unbound", "now", "", ""), "far": pvc("far", "", "far", isBound), "local": pvc("local", "local", "", ""),
		"lost":  strings.Replace(pvc("lost", "", "gone", isBound), "Pending", "Lost", 1),
		"going": strings.Replace(pvc("going", "now", "", ""), `"metadata":{`, `"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z",`, 1),
		"none":  "",
	} {
		if raw != "" {
			f.set(t, "persistentvolumeclaims", raw)
		}
		f.set(t, "pods", claimed(claim, claim))
	}
	f.set(t, "pods", strings.Replace(pod("e", "1"), `"containers"`, `"volumes":[{"name":"x","ephemeral":{}}],"containers"`, 1))
	start(t, f)
	for name, want := range map[string]string{
		"unbound": "pod has unbound immediate PersistentVolumeClaims.",
		"far":     "1 node(s) didn't match PersistentVolume's node affinity.",
		"local":   "1 node(s) didn't find available persistent volumes to bind.",
		"lost":    `persistentvolumeclaim "lost" bound to non-existent persistentvolume "gone".`,
		"going":   `persistentvolumeclaim "going" is being deleted.`,
		"none":    `persistentvolumeclaim "none" not found.`,
		"e":       `waiting for ephemeral volume controller to create the persistentvolumeclaim "e-x".`,
	} {
		f.wait(func() bool { return f.statuses["default/"+name] != "" })
		f.mu.Lock()
		if got := f.statuses["default/"+name]; got != all+want {
			t.Errorf("%s: %s", name, got)
		}
		f.mu.Unlock()
	}
	// What comes helps.
	f.set(t, "persistentvolumes", pv("near", "local", "n1", "Available"))
	f.set(t, "persistentvolumes", pv("made", "now", "n1", "Bound"))
	f.set(t, "persistentvolumeclaims", pvc("unbound", "now", "made", isBound))
	f.wait(func() bool { return f.bindings["default/unbound"] == "n1" })
	f.wait(func() bool { return f.selected("local") == "n1" })
}

// selected is the node that was chosen for a claim. Called with the lock held.
func (f *fakeAPI) selected(claim string) string {
	a, _ := f.objects["persistentvolumeclaims"]["default/"+claim]["metadata"].(map[string]any)["annotations"].(map[string]string)
	return a["volume.kubernetes.io/selected-node"]
}

func TestAVolumeIsMadeForTheChosenNode(t *testing.T) {
	t.Parallel()
	f := newFakeAPI(t)
	f.set(t, "nodes", hosted("n1"))
	f.set(t, "storageclasses", storageClass("wait", "mem.example.com", "WaitForFirstConsumer"))
	f.set(t, "persistentvolumeclaims", pvc("data", "wait", "", ""))
	f.set(t, "pods", claimed("p", "data"))
	start(t, f)
	f.wait(func() bool { return f.selected("data") == "n1" })
	// There is no room: the choice is taken back, the pod says why, and is tried again.
	f.set(t, "persistentvolumeclaims", pvc("data", "wait", "", ""))
	f.wait(func() bool {
		return f.statuses["default/p"] == `False SchedulerError running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "data"`
	})
	f.wait(func() bool { return f.selected("data") == "n1" })
	f.mu.Lock()
	if f.bindings["default/p"] != "" {
		t.Error("bound without its volume")
	}
	f.mu.Unlock()
	f.set(t, "persistentvolumes", pv("made", "wait", "n1", "Bound"))
	f.set(t, "persistentvolumeclaims", pvc("data", "wait", "made", isBound))
	f.wait(func() bool { return f.bindings["default/p"] == "n1" })
}

func TestAPodThatGoesWhileItsVolumeIsMade(t *testing.T) {
	t.Parallel()
	f := newFakeAPI(t)
	f.set(t, "nodes", node("n1", "1"))
	f.set(t, "storageclasses", storageClass("wait", "mem.example.com", "WaitForFirstConsumer"))
	f.set(t, "persistentvolumeclaims", pvc("data", "wait", "", ""))
	f.set(t, "pods", claimed("p", "data"))
	start(t, f)
	f.wait(func() bool { return f.selected("data") == "n1" })
	f.delete("pods", "default/p")
	f.set(t, "pods", pod("next", "1")) // finds the room that the first had
	f.wait(func() bool { return f.bindings["default/next"] == "n1" })
}

func TestOnlyOnePodMayHaveAClaimForOnePod(t *testing.T) {
	t.Parallel()
	f := newFakeAPI(t)
	f.set(t, "nodes", hosted("n1"))
	f.set(t, "persistentvolumes", pv("v", "", "n1", "Bound"))
	f.set(t, "persistentvolumeclaims", strings.Replace(pvc("data", "", "v", isBound), "ReadWriteOnce", "ReadWriteOncePod", 1))
	f.set(t, "pods", claimed("first", "data"))
	start(t, f)
	f.wait(func() bool { return f.bindings["default/first"] == "n1" })
	f.set(t, "pods", claimed("second", "data"))
	const why = "False Unschedulable 0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
	f.wait(func() bool { return f.statuses["default/second"] == why })
	f.delete("pods", "default/first")
	f.wait(func() bool { return f.bindings["default/second"] == "n1" })
}
