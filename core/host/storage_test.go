package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// testStorage has a volume "there", a full one and one in use.
type testStorage struct{ base }

func (s *testStorage) Open(_ context.Context, env plugin.Env) (storage.Services, error) {
	if env.Config == nil {
		return storage.Services{}, os.ErrInvalid
	}
	return storage.Services{Driver: s.name + ".example.com", TopologyKeys: []string{"rack"}, Mounter: s, Expander: s}, nil
}

func (*testStorage) ExpandVolume(_ context.Context, handle string, _ map[string]string, size int64) (int64, error) {
	switch handle {
	case "full":
		return 0, fmt.Errorf("%w: the shelf has room for 1 only", storage.ErrExhausted)
	case "used":
		return 0, storage.ErrInUse
	case "later":
		return 0, &storage.RetryError{Reason: "the smith sleeps", After: 1}
	case "there":
		return size, nil
	}
	return 0, fmt.Errorf("%w: %s", storage.ErrNotFound, handle)
}

func (*testStorage) MountVolume(_ context.Context, r storage.MountVolumeRequest) error {
	return fmt.Errorf("%+v", r)
}

func (*testStorage) UnmountVolume(context.Context, string, string) error { return nil }

// A storage is opened by the host with the identity of its plugin, and asked by other plugins
// and by who has the host, also after it was started again.
func TestStorageIsAskedByPluginsAndByTheAgent(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointStorage}, spec(t, "storage", "shelf"))
	before := r.wait(t, "shelf", healthy)
	for restarts := range 2 {
		far, err := remote.StorageServices(r.ctx, p.Conn("shelf"))
		if err != nil {
			t.Fatal(err)
		}
		near, err := r.Storage("shelf.example.com")
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]storage.Services{"plugin": far, "agent": near} {
			if s.Driver != "shelf.example.com" || len(s.TopologyKeys) != 1 || s.Mounter == nil || s.Expander == nil || s.Provisioner != nil || s.Attacher != nil || s.StatsReader != nil {
				t.Fatalf("%s: services: %+v", name, s)
			}
			if size, err := s.Expander.ExpandVolume(r.ctx, "there", nil, 7); size != 7 || err != nil {
				t.Errorf("%s: %d, %v", name, size, err)
			}
			for handle, want := range map[string]error{"full": storage.ErrExhausted, "used": storage.ErrInUse, "none": storage.ErrNotFound} {
				_, err := s.Expander.ExpandVolume(r.ctx, handle, nil, 7)
				if !errors.Is(err, want) || handle == "full" && err.Error() != "storage exhausted: the shelf has room for 1 only" {
					t.Errorf("%s: %s: %v", name, handle, err)
				}
			}
			var retry *storage.RetryError
			if _, err := s.Expander.ExpandVolume(r.ctx, "later", nil, 7); !errors.As(err, &retry) || retry.Reason != "the smith sleeps" || retry.After != 1 {
				t.Errorf("%s: to be tried again: %v", name, err)
			}
			asked := storage.MountVolumeRequest{
				Handle: "h", Context: map[string]string{"a": "b"}, PublishContext: map[string]string{"c": "d"}, TargetPath: "/t", ReadOnly: true,
				Capability: storage.Capability{AccessModes: nil, VolumeMode: "Filesystem", FSType: "ext4", MountOptions: []string{"noatime"}},
				Pod:        storage.Pod{Namespace: "n", Name: "p", UID: "u", ServiceAccount: "s"},
			}
			if err := s.Mounter.MountVolume(r.ctx, asked); err == nil || err.Error() != fmt.Sprintf("%+v", asked) {
				t.Errorf("%s: what arrives of %+v: %v", name, asked, err)
			}
		}
		if restarts == 0 {
			if err := r.Restart("shelf"); err != nil {
				t.Fatal(err)
			}
			r.wait(t, "shelf", func(st host.Status) bool { return healthy(st) && st.PID != 0 && st.PID != before.PID })
		}
	}
	_, err := r.Storage("other.example.com")
	if err == nil || !strings.Contains(err.Error(), "no plugin on the servers is the storage other.example.com; there are [shelf.example.com]") {
		t.Errorf("one that is not there: %v", err)
	}
	if err := r.Remove(r.ctx, "shelf"); err != nil {
		t.Fatal(err)
	}
	if s, err := r.Storage("shelf.example.com"); err == nil {
		t.Errorf("one that was removed: %+v", s)
	}
}

func TestStorageIsAProcess(t *testing.T) {
	r := start(t, nil, host.Spec{Name: "shelf", Placement: host.Builtin, Builtin: &testStorage{base{name: "shelf"}}})
	r.wait(t, "shelf", func(st host.Status) bool { return strings.Contains(st.LastReason, "use placement process") })
	if _, err := r.Storage("shelf.example.com"); err == nil {
		t.Error("a storage that was refused")
	}
}
