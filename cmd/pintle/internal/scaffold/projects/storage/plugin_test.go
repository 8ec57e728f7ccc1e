package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// both is the plugin as it is beside the servers and on a node, in one: so the suite makes the
// volumes that it mounts.
type both struct{ *Plugin }

func (b both) Open(ctx context.Context, env plugin.Env) (storage.Services, error) {
	s, err := b.Plugin.Open(ctx, env)
	if err != nil {
		return s, err
	}
	onNode := &Plugin{onNode: true, settings: b.settings}
	there, err := onNode.Open(ctx, env)
	s.Mounter, s.StatsReader = there.Mounter, there.StatsReader
	return s, err
}

func TestWhichHalfItIs(t *testing.T) {
	for want, p := range map[string]*Plugin{"gizmo-name": {}, "gizmo-name-node": {onNode: true}} {
		if got := p.Info().Name; got != want {
			t.Errorf("it calls itself %q, want %q", got, want)
		}
	}
}

func TestStorageContract(t *testing.T) {
	target := t.TempDir()
	t.Cleanup(func() { // where the suite fails half way
		for _, name := range []string{"first", "second", "none"} {
			_ = unix.Unmount(filepath.Join(target, name), unix.MNT_DETACH)
		}
	})
	plugintest.RunStorage(t, plugintest.StorageCase{
		Case: plugintest.Case{
			Settings: []byte(`{"root":"` + t.TempDir() + `"}`),
			BadSettings: map[string]string{
				`{}`: "settings.root", `{"root":"relative"}`: "settings.root", `{"root":"/a/../b"}`: "settings.root", `{"path":"/x"}`: "settings.path",
			},
		},
		New: func() storage.Storage { return both{&Plugin{}} },
		Request: storage.CreateVolumeRequest{
			Name: "pvc-1", CapacityBytes: 1 << 20,
			Capability: storage.Capability{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, VolumeMode: corev1.PersistentVolumeFilesystem},
		},
		Mount:  mayMount(t),
		Target: target,
	})
}

// mayMount reports whether mounts can be tested here.
func mayMount(t *testing.T) bool {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	target := t.TempDir()
	if err := bind(dir, target, false); err != nil {
		t.Logf("mounts are not tested: %v", err)
		return false
	}
	if err := unix.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestHandlesLeadNowhereElse(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	v := &volumes{root: root}
	for _, handle := range []string{"", ".", "..", "../x", "a/b"} {
		if _, err := v.CreateVolume(t.Context(), storage.CreateVolumeRequest{Name: handle}); !errors.Is(err, errName) {
			t.Errorf("create %q: %v", handle, err)
		}
		if err := v.MountVolume(t.Context(), storage.MountVolumeRequest{Handle: handle, TargetPath: t.TempDir()}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("mount %q: %v", handle, err)
		}
		if err := v.DeleteVolume(t.Context(), handle, nil); err != nil {
			t.Errorf("delete %q: %v", handle, err)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestRootThatIsNotThereIsNamed(t *testing.T) {
	p := &Plugin{settings: Settings{Root: "/no/such/directory"}}
	if _, err := p.Open(t.Context(), plugin.Env{}); err == nil {
		t.Error("it was opened")
	}
}
