package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata/fake"

	"example.dev/hostdir/internal/handle"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// TestMain makes the test's program the plugin, too, for the test of it as a process.
func TestMain(m *testing.M) {
	if os.Getenv(protocol.Handshake().MagicCookieKey) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestContract(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := plugintest.StorageCase{
		Case:    plugintest.Case{Settings: []byte(`{"root":"` + t.TempDir() + `"}`), BadSettings: map[string]string{`{"root":"x"}`: "settings.root", `{"path":"/x"}`: "path"}},
		New:     func() storage.Storage { return &mounter{} },
		Volume:  storage.Volume{Handle: "test-node/pvc-1"},
		Mount:   os.Geteuid() == 0,
		Target:  t.TempDir(),
		Program: []string{program},
	}
	c.Request.Capability.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	if !c.Mount {
		t.Log("only root may mount: mounts are not tested")
	}
	t.Cleanup(func() { // where the test fails half way
		for _, name := range []string{"first", "second", "none"} {
			_ = unix.Unmount(filepath.Join(c.Target, name), unix.MNT_DETACH)
		}
	})
	plugintest.RunStorage(t, c)
}

// What another half asks to remove is removed, but nothing of another volume or node.
func TestRemovals(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pvc-1", "pvc-2", "pvc-3"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := fake.NewSimpleMetadataClient(scheme)
	for name, ask := range map[string]string{"pvc-1": "node-1/pvc-1", "pvc-2": "node-2/pvc-2", "pvc-4": "node-1/pvc-3"} {
		pv := &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{handle.Remove: ask}},
		}
		if err := client.Tracker().Create(persistentVolumes, pv, ""); err != nil {
			t.Fatal(err)
		}
	}
	m := &mounter{root: root, node: "node-1"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	patched, err := client.Resource(persistentVolumes).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.follow(ctx, client, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for removed := false; !removed; {
		select {
		case e := <-patched.ResultChan():
			pv, ok := e.Object.(*metav1.PartialObjectMetadata)
			removed = ok && pv.Name == "pvc-1" && pv.Annotations[handle.Removed] == "node-1/pvc-1"
		case <-ctx.Done():
			t.Fatal("nobody said that it was removed")
		}
	}
	for name, want := range map[string]bool{"pvc-1": false, "pvc-2": true, "pvc-3": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
