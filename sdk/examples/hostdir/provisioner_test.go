package main

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/fake"

	"example.dev/hostdir/internal/handle"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// volumes is an API with some PersistentVolumes.
func volumes(t testing.TB, names ...string) metadata.ResourceInterface {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	resource := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	client := fake.NewSimpleMetadataClient(scheme)
	for _, name := range names {
		pv := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.Tracker().Create(resource, pv, ""); err != nil {
			t.Fatal(err)
		}
	}
	return client.Resource(resource)
}

func request(name string) storage.CreateVolumeRequest {
	return storage.CreateVolumeRequest{
		Name: name, CapacityBytes: 1 << 20, Topologies: []storage.Topology{{handle.TopologyKey: "node-1"}},
		Capability: storage.Capability{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, VolumeMode: corev1.PersistentVolumeFilesystem},
	}
}

func TestContract(t *testing.T) {
	plugintest.RunStorage(t, plugintest.StorageCase{
		Case:    plugintest.Case{BadSettings: map[string]string{`{"root":"/x"}`: "root"}},
		New:     func() storage.Storage { return &provisioner{volumes: volumes(t)} },
		Request: request("pvc-1"),
	})
}

func TestAVolumeNeedsANode(t *testing.T) {
	r := request("pvc-1")
	r.Topologies = nil
	if v, err := (&provisioner{}).CreateVolume(t.Context(), r); err == nil {
		t.Errorf("a volume without a place: %+v", v)
	}
}

// A volume is gone when its node says so, and not before.
func TestTheNodeRemoves(t *testing.T) {
	p := &provisioner{volumes: volumes(t, "pvc-1")}
	remove := func() error { return p.DeleteVolume(t.Context(), "node-1/pvc-1", nil) }
	for range 2 {
		var later *storage.RetryError
		if err := remove(); !errors.As(err, &later) {
			t.Fatalf("before the node has said that it is gone: %v", err)
		}
	}
	pv, err := p.volumes.Get(t.Context(), "pvc-1", metav1.GetOptions{})
	if err != nil || pv.Annotations[handle.Remove] != "node-1/pvc-1" {
		t.Fatalf("what the node reads: %v, %v", pv.Annotations, err)
	}
	answer := []byte(`{"metadata":{"annotations":{"` + handle.Removed + `":"node-1/pvc-1"}}}`)
	if _, err := p.volumes.Patch(t.Context(), "pvc-1", types.MergePatchType, answer, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Errorf("after it: %v", err)
	}
}
