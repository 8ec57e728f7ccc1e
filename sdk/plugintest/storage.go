package plugintest

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// StorageCase is a storage to be held to the contract. What it does not offer is not asked for.
type StorageCase struct {
	Case
	New func() storage.Storage
	// Request is for a volume that can be made. Where the storage makes none, Volume is one that
	// is there.
	Request storage.CreateVolumeRequest
	Volume  storage.Volume
	// Node is one that volumes can be attached to.
	Node string
	// Mount has volumes mounted where the storage can, which mostly takes root; Target is below
	// which directory, a temporary one where empty.
	Mount  bool
	Target string
	// Program, where it is set, is a program and its arguments that serves the same plugin: it is
	// held to the contract as a process, too.
	Program []string
}

// RunStorage holds a storage to what controllers and nodes rely on, directly, over gRPC and as a
// process: every call can be repeated, what is not there is said not to be there, errors mean the
// same on both ends, what was written is there again, and what is given is left as it is.
func RunStorage(t *testing.T, c StorageCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("direct", func(t *testing.T) {
		h := Start(t, c.New()) // for an environment
		env, err := h.Environment.Env(h.Client.Info(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		impl := c.New()
		configure(t, impl, c.Settings)
		s, err := impl.Open(t.Context(), env)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		c.explore(t, s)
	})
	t.Run("grpc", func(t *testing.T) { c.far(t, Start(t, c.New())) })
	if c.Program != nil {
		t.Run("process", func(t *testing.T) { c.far(t, StartProcess(t, c.Program...)) })
	}
}

// far holds a storage to the contract that is on the other end of a connection.
func (c StorageCase) far(t *testing.T, h *Harness) {
	configure(t, h.Client, c.Settings)
	p, ok := h.Client.Storage()
	if !ok {
		t.Fatal("the host is not told that the plugin is a storage")
	}
	opened(t, p.Open, func(ctx context.Context) (storage.Services, error) {
		return remote.StorageServices(ctx, h.Client.Conn())
	}, c.explore)
}

func (c StorageCase) explore(t *testing.T, s storage.Services) {
	t.Helper()
	if s.Driver == "" || len(s.Driver) > 63 || strings.ContainsAny(s.Driver, "/: ") {
		t.Errorf("driver %q: a name of at most 63 characters is needed that a StorageClass can have as its provisioner", s.Driver)
	}
	if s.Provisioner == nil && s.Attacher == nil && s.Mounter == nil {
		t.Error("it offers nothing")
	}
	if s.Expander != nil && s.Provisioner == nil {
		t.Error("it makes volumes larger that it does not make")
	}
	v := &c.Volume
	if s.Provisioner != nil {
		v = c.create(t, s)
	}
	if s.Expander != nil {
		t.Run("expander", func(t *testing.T) { c.expand(t, s.Expander, v) })
	}
	var published map[string]string
	if s.Attacher != nil {
		t.Run("attacher", func(t *testing.T) { published = c.attach(t, s.Attacher, v) })
	}
	if s.Mounter != nil && c.Mount {
		t.Run("mounter", func(t *testing.T) { c.mount(t, s, v, published) })
	}
	if s.Attacher != nil {
		for range 2 {
			if err := s.Attacher.DetachVolume(t.Context(), v.Handle, c.Node); err != nil {
				t.Errorf("detach: %v", err)
			}
		}
	}
	if s.Provisioner != nil {
		t.Run("provisioner removes", func(t *testing.T) { c.remove(t, s.Provisioner, v) })
	}
}

// patiently calls f for as long as the storage says that it has to be tried again.
func patiently(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		err := f()
		var retry *storage.RetryError
		if !errors.As(err, &retry) {
			return err
		}
		if waited := waitFor(ctx, retry.After); waited != nil {
			return err
		}
	}
}

func (c StorageCase) create(t *testing.T, s storage.Services) *storage.Volume {
	t.Helper()
	request := c.Request
	request.Parameters = maps.Clone(c.Request.Parameters)
	var first *storage.Volume
	for range 2 {
		var v *storage.Volume
		if err := patiently(t.Context(), func() (err error) { v, err = s.Provisioner.CreateVolume(t.Context(), request); return err }); err != nil {
			t.Fatalf("create volume %s: %v", request.Name, err)
		}
		if v.Handle == "" || v.CapacityBytes < request.CapacityBytes {
			t.Errorf("asked for %d bytes it made %+v", request.CapacityBytes, v)
		}
		for _, place := range v.Topologies {
			for key := range place {
				if !slices.Contains(s.TopologyKeys, key) {
					t.Errorf("the volume is at %v, and %q is none of its topology keys %v", place, key, s.TopologyKeys)
				}
			}
		}
		if first != nil && !reflect.DeepEqual(v, first) {
			t.Errorf("asked again it made %+v, and before %+v", v, first)
		}
		first = v
	}
	if !reflect.DeepEqual(request.Parameters, c.Request.Parameters) {
		t.Error("the request was changed")
	}
	larger := request
	larger.CapacityBytes = 2*first.CapacityBytes + 1
	if v, err := s.Provisioner.CreateVolume(t.Context(), larger); !errors.Is(err, storage.ErrExists) && (err != nil || v.CapacityBytes < larger.CapacityBytes) {
		t.Errorf("of the same name and larger: %+v, %v, want ErrExists", v, err)
	}
	return first
}

func (c StorageCase) remove(t *testing.T, p storage.Provisioner, v *storage.Volume) {
	for _, handle := range []string{v.Handle, v.Handle, "plugintest-none"} {
		if err := patiently(t.Context(), func() error { return p.DeleteVolume(t.Context(), handle, v.Context) }); err != nil {
			t.Errorf("delete volume %s: %v", handle, err)
		}
	}
}

func (c StorageCase) expand(t *testing.T, e storage.Expander, v *storage.Volume) {
	more := v.CapacityBytes + v.CapacityBytes/2 + 1
	for range 2 {
		var size int64
		err := patiently(t.Context(), func() (err error) {
			size, err = e.ExpandVolume(t.Context(), v.Handle, v.Context, more)
			return err
		})
		if err != nil || size < more {
			t.Errorf("expand to %d bytes: %d, %v", more, size, err)
		}
	}
	if size, err := e.ExpandVolume(t.Context(), "plugintest-none", nil, more); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("expand a volume that is not there: %d, %v, want ErrNotFound", size, err)
	}
}

func (c StorageCase) attach(t *testing.T, a storage.Attacher, v *storage.Volume) map[string]string {
	r := storage.AttachVolumeRequest{Handle: v.Handle, Context: v.Context, Node: c.Node, Capability: c.Request.Capability}
	var first map[string]string
	for i := range 2 {
		var published map[string]string
		err := patiently(t.Context(), func() (err error) { published, err = a.AttachVolume(t.Context(), r); return err })
		if err != nil {
			t.Fatalf("attach: %v", err)
		}
		if i > 0 && !reflect.DeepEqual(published, first) {
			t.Errorf("attached again it says %v, and before %v", published, first)
		}
		first = published
	}
	r.Handle = "plugintest-none"
	if published, err := a.AttachVolume(t.Context(), r); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("attach a volume that is not there: %v, %v, want ErrNotFound", published, err)
	}
	return first
}

// mount mounts a volume for two pods, one after the other.
func (c StorageCase) mount(t *testing.T, s storage.Services, v *storage.Volume, published map[string]string) {
	dir := c.Target
	if dir == "" {
		dir = t.TempDir()
	}
	r := storage.MountVolumeRequest{
		Handle: v.Handle, Context: v.Context, PublishContext: published, Capability: c.Request.Capability,
		Pod: storage.Pod{Namespace: "default", Name: "plugintest", UID: "plugintest-1", ServiceAccount: "default"},
	}
	target := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := func(name string, readOnly bool, f func(path string)) {
		t.Helper()
		r.TargetPath, r.ReadOnly = target(name), readOnly
		for range 2 {
			if err := patiently(t.Context(), func() error { return s.Mounter.MountVolume(t.Context(), r) }); err != nil {
				t.Fatalf("mount at %s: %v", r.TargetPath, err)
			}
		}
		f(r.TargetPath)
		for range 2 {
			if err := s.Mounter.UnmountVolume(t.Context(), v.Handle, r.TargetPath); err != nil {
				t.Errorf("unmount from %s: %v", r.TargetPath, err)
			}
		}
		// A link goes; a directory stays.
		if left, err := os.ReadDir(r.TargetPath); err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
			t.Errorf("unmounted the directory has %v, %v", left, err)
		}
	}
	if c.Request.Capability.VolumeMode == corev1.PersistentVolumeBlock {
		at("device", false, func(string) {})
		return
	}
	at("first", false, func(path string) {
		if err := os.WriteFile(filepath.Join(path, "kept"), []byte("word"), 0o600); err != nil {
			t.Errorf("write: %v", err)
		}
		if s.StatsReader != nil {
			if st, err := s.StatsReader.VolumeStats(t.Context(), v.Handle, path); err != nil || st.CapacityBytes <= 0 {
				t.Errorf("stats: %+v, %v", st, err)
			}
		}
	})
	at("second", true, func(path string) {
		if got, err := os.ReadFile(filepath.Join(path, "kept")); err != nil || string(got) != "word" {
			t.Errorf("what the first pod wrote: %q, %v", got, err)
		}
		if at, err := os.Lstat(path); err == nil && at.Mode()&fs.ModeSymlink != 0 {
			return // the agent mounts what it leads to, and sees to that
		}
		if err := os.WriteFile(filepath.Join(path, "more"), nil, 0o600); err == nil {
			t.Error("it can be written where it is mounted for reading")
		}
	})
	r.Handle, r.TargetPath = "plugintest-none", target("none")
	if err := s.Mounter.MountVolume(t.Context(), r); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("mount a volume that is not there: %v, want ErrNotFound", err)
	}
	if err := s.Mounter.UnmountVolume(t.Context(), r.Handle, r.TargetPath); err != nil {
		t.Errorf("unmount a volume that is not there: %v", err)
	}
}
