package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/runtime/downward"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// cluster is what claims are bound to, and the storage "s.example" of the node.
type cluster struct {
	mu          sync.Mutex
	claims      map[string]*corev1.PersistentVolumeClaim
	volumes     map[string]*corev1.PersistentVolume
	attachments map[string]*storagev1.VolumeAttachment

	dir      string // the storage's own
	away     error
	attaches bool
	// mount puts something at the target; a link to a directory of the storage's where nil.
	mount   func(storage.MountVolumeRequest) error
	asked   []storage.MountVolumeRequest
	mounted map[string]string // handles, by target
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		claims: map[string]*corev1.PersistentVolumeClaim{}, volumes: map[string]*corev1.PersistentVolume{},
		attachments: map[string]*storagev1.VolumeAttachment{}, dir: t.TempDir(), mounted: map[string]string{},
	}
	c.mount = func(r storage.MountVolumeRequest) error {
		at := filepath.Join(c.dir, "volumes", r.Handle)
		if err := os.MkdirAll(at, 0o777); err != nil {
			return err
		}
		_ = os.Remove(r.TargetPath)
		return os.Symlink(at, r.TargetPath)
	}
	return c
}

func missing(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

func (c *cluster) Claim(_ context.Context, _, name string) (*corev1.PersistentVolumeClaim, error) {
	if o, ok := c.claims[name]; ok {
		return o, nil
	}
	return nil, missing("persistentvolumeclaims", name)
}

func (c *cluster) PersistentVolume(_ context.Context, name string) (*corev1.PersistentVolume, error) {
	if o, ok := c.volumes[name]; ok {
		return o, nil
	}
	return nil, missing("persistentvolumes", name)
}

func (c *cluster) Attachment(_ context.Context, name string) (*storagev1.VolumeAttachment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.attachments[name]; ok {
		return o, nil
	}
	return nil, missing("volumeattachments", name)
}

func (c *cluster) Storage(driver string) (storage.Services, string, error) {
	if c.away != nil || driver != "s.example" {
		return storage.Services{}, "", errors.Join(c.away, errors.New("no "+driver))
	}
	s := storage.Services{Driver: driver, Mounter: c}
	if c.attaches {
		s.Attacher = attacher{}
	}
	return s, c.dir, nil
}

type attacher struct{ storage.Attacher }

func (c *cluster) MountVolume(_ context.Context, r storage.MountVolumeRequest) error {
	c.asked = append(c.asked, r)
	if err := c.mount(r); err != nil {
		return err
	}
	c.mounted[r.TargetPath] = r.Handle
	return nil
}

func (c *cluster) UnmountVolume(_ context.Context, handle, target string) error {
	if c.mounted[target] == handle {
		delete(c.mounted, target)
	}
	if there, _ := mountinfo.Mounted(target); there {
		return unix.Unmount(target, 0)
	}
	return nil
}

// bound makes a claim that is bound to a volume.
func (c *cluster) bound(name string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	uid := types.UID("uid-" + name)
	c.claims[name] = &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: uid},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + name},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource: source, ClaimRef: &corev1.ObjectReference{UID: uid}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
	}}
	c.volumes[pv.Name] = pv
	return pv
}

func csi(handle string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "s.example", VolumeHandle: handle, VolumeAttributes: map[string]string{"a": "b"}}}
}

func claimed(name, claim string, readOnly bool) corev1.Volume {
	return vol(name, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim, ReadOnly: readOnly}})
}

func (c *cluster) manager(t *testing.T, dir string) *Manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	m := NewManager(dir, &source{})
	m.Persist(Persistent{Claims: c, Storages: c, Node: "n1"})
	t.Cleanup(func() { _ = m.Abandon("uid") })
	return m
}

func TestVolumeOfAStorageOutlivesItsPod(t *testing.T) {
	c := newCluster(t)
	c.bound("c", csi("h"))
	dir := t.TempDir()
	m := c.manager(t, dir)
	pod := newPod(claimed("data", "c", false))
	pod.Spec.ServiceAccountName = "sa"
	for range 2 { // which is done at each start of a container
		paths, err := m.Setup(t.Context(), pod, downward.Facts{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(paths["data"], "f"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.asked) != 1 {
		t.Fatalf("mounted %d times", len(c.asked))
	}
	r := c.asked[0]
	if r.Handle != "h" || r.Context["a"] != "b" || r.Pod != (storage.Pod{Namespace: "ns", Name: "p", UID: "uid", ServiceAccount: "sa"}) || !strings.HasPrefix(r.TargetPath, c.dir+"/") {
		t.Errorf("asked for %+v", r)
	}
	if got := contents(t, filepath.Join(c.dir, "volumes", "h", "f")); got != "x" {
		t.Errorf("the volume has %q", got)
	}
	// The next agent knows what this one mounted; while the storage is away nothing is lost.
	next := c.manager(t, dir)
	if _, err := next.Setup(t.Context(), pod, downward.Facts{}); err != nil || len(c.asked) != 1 {
		t.Fatalf("mounted %d times, %v", len(c.asked), err)
	}
	c.away = errors.New("it restarts")
	if err := next.Teardown(t.Context(), "uid"); err == nil || !strings.Contains(err.Error(), "it restarts") {
		t.Fatalf("without the storage: %v", err)
	}
	c.away = nil
	if len(c.mounted) != 1 {
		t.Fatalf("mounted: %v", c.mounted)
	}
	for range 2 {
		if err := next.Teardown(t.Context(), "uid"); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.mounted) != 0 {
		t.Errorf("still mounted: %v", c.mounted)
	}
	if left, _ := os.ReadDir(filepath.Join(c.dir, "mounts")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := contents(t, filepath.Join(c.dir, "volumes", "h", "f")); got != "x" {
		t.Errorf("the volume has %q after its pod", got)
	}
}

func TestVolumesAreMountedAsAskedFor(t *testing.T) {
	c := newCluster(t)
	c.bound("c", csi("h"))
	pv := c.bound("ro", csi("h2"))
	pv.Spec.CSI.ReadOnly = true
	c.volumes[pv.Name] = pv
	local := t.TempDir()
	c.bound("l", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: local}})
	hp := t.TempDir()
	c.bound("hp", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: hp}})
	m := c.manager(t, t.TempDir())
	pod := newPod(claimed("rw", "c", false), claimed("also-ro", "c", true), claimed("ro", "ro", false), claimed("l", "l", false), claimed("hp", "hp", false),
		vol("e", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}))
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr(int64(4242))}
	c.bound("p-e", csi("h3"))
	c.claims["p-e"].OwnerReferences = []metav1.OwnerReference{{UID: "uid", Controller: ptr(true)}}
	pod.Spec.Containers = []corev1.Container{{Name: "c", VolumeMounts: []corev1.VolumeMount{
		{Name: "rw", MountPath: "/a", SubPath: "deep/er"}, {Name: "also-ro", MountPath: "/b"},
	}}}
	paths, err := m.Setup(t.Context(), pod, downward.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if paths["hp"] != hp {
		t.Errorf("hostPath is at %s", paths["hp"])
	}
	for name, want := range map[string]error{"rw": nil, "l": nil, "e": nil, "also-ro": unix.EROFS, "ro": unix.EROFS} {
		f := filepath.Join(paths[name], "of-"+name)
		if err := os.WriteFile(f, nil, 0o600); !errors.Is(err, want) {
			t.Errorf("write to %s: %v", name, err)
		}
		if want != nil {
			continue
		}
		if st, err := os.Stat(f); err != nil || st.Sys().(*syscall.Stat_t).Gid != 4242 {
			t.Errorf("%s is not the group's: %v, %v", name, st, err)
		}
	}
	if _, err := os.Stat(filepath.Join(local, "of-l")); err != nil {
		t.Error(err)
	}
	mounts, err := m.Mounts(pod, &pod.Spec.Containers[0], paths, nil)
	if err != nil || len(mounts) != 2 || mounts[0].ReadOnly || !mounts[1].ReadOnly {
		t.Fatalf("%+v, %v", mounts, err)
	}
	if err := os.WriteFile(filepath.Join(mounts[0].HostPath, "deep-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "volumes", "h", "deep", "er", "deep-file")); err != nil {
		t.Error(err)
	}
	// A pod that has ended holds nothing, though it is still there.
	if err := m.Release(t.Context(), "uid"); err != nil || len(c.mounted) != 0 {
		t.Fatalf("%v, still mounted: %v", err, c.mounted)
	}
}

func TestWhyAClaimIsNotMounted(t *testing.T) {
	c := newCluster(t)
	c.claims["pending"] = &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}
	c.bound("lost", csi("h"))
	delete(c.volumes, "pv-lost")
	c.bound("stolen", csi("h")).Spec.ClaimRef.UID = "another"
	c.bound("local", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/nowhere/at/all"}})
	c.bound("nfs", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{}})
	c.bound("foreign", csi("h")).Spec.CSI.Driver = "other.example"
	c.bound("deleted", csi("h"))
	c.claims["deleted"].DeletionTimestamp = &metav1.Time{Time: time.Now()}
	c.bound("block", csi("h")).Spec.VolumeMode = ptr(corev1.PersistentVolumeBlock)
	c.bound("p-v", csi("h"))
	m := c.manager(t, t.TempDir())
	const process = `Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: `
	for claim, want := range map[string]string{
		"none":    process + `error processing PVC ns/none: failed to fetch PVC from API server: persistentvolumeclaims "none" not found`,
		"pending": process + `error processing PVC ns/pending: PVC is not bound`,
		"deleted": process + `error processing PVC ns/deleted: PVC is being deleted`,
		"lost":    process + `error processing PVC ns/lost: failed to fetch PV pv-lost from API server: persistentvolumes "pv-lost" not found`,
		"stolen":  process + `error processing PVC ns/stolen: found PV object pv-stolen but its pv.Spec.ClaimRef.UID another does not point to claim.UID uid-stolen`,
		"block":   process + `volume v has volumeMode Block, but is specified in volumeMounts`,
		"local":   `MountVolume.NewMounter initialization failed for volume "pv-local" : path "/nowhere/at/all" does not exist`,
		"nfs":     `MountVolume.SetUp failed for volume "pv-nfs" : no volume plugin matched`,
		"foreign": `MountVolume.MountDevice failed for volume "pv-foreign" : driver name other.example not found in the list of registered CSI drivers`,
		"":        process + `PVC ns/p-v was not created for pod ns/p (pod is not owner)`,
	} {
		v := claimed("v", claim, false)
		if claim == "" {
			v = vol("v", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})
		}
		pod := newPod(v)
		pod.Spec.Containers = []corev1.Container{{Name: "c", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}}}
		_, err := m.Setup(t.Context(), pod, downward.Facts{})
		if all := Failures(err); len(all) != 1 || !strings.HasPrefix(all[0].Error(), want) {
			t.Errorf("%q: %v\nwant %s", claim, err, want)
		}
	}
	if len(c.mounted) != 0 {
		t.Errorf("mounted: %v", c.mounted)
	}
}

// A storage may be anybody's: what it puts where it was to mount leads nowhere else.
func TestAStorageCantGiveAwayTheNode(t *testing.T) {
	secret := t.TempDir()
	for name, mount := range map[string]func(c *cluster, target string) error{
		"nothing":    func(*cluster, string) error { return nil },
		"a link out": func(_ *cluster, target string) error { _ = os.Remove(target); return os.Symlink(secret, target) },
		"a file":     func(_ *cluster, target string) error { _ = os.Remove(target); return os.WriteFile(target, nil, 0o600) },
		"a parent's link": func(c *cluster, target string) error {
			up := filepath.Dir(target)
			return errors.Join(os.RemoveAll(up), os.Symlink(secret, up), os.Mkdir(filepath.Join(secret, "data"), 0o700))
		},
		"an error": func(*cluster, string) error { return storage.ErrInUse },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.bound("c", csi("h"))
			c.mount = func(r storage.MountVolumeRequest) error { return mount(c, r.TargetPath) }
			m := c.manager(t, t.TempDir())
			paths, err := m.Setup(t.Context(), newPod(claimed("data", "c", false)), downward.Facts{})
			if err == nil {
				t.Errorf("mounted at %v", paths)
			}
			if name == "nothing" && !strings.Contains(err.Error(), "MountPropagation") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		})
	}
}

func TestAMountOfTheStorageItselfIsBoundAndUndone(t *testing.T) {
	c := newCluster(t)
	c.bound("c", csi("h"))
	c.mount = func(r storage.MountVolumeRequest) error {
		return unix.Mount("tmpfs", r.TargetPath, "tmpfs", 0, "size=1m")
	}
	m := c.manager(t, t.TempDir())
	paths, err := m.Setup(t.Context(), newPod(claimed("data", "c", false)), downward.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(paths["data"], &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Fatalf("file system %x, %v", st.Type, err)
	}
	if err := m.Teardown(t.Context(), "uid"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{c.dir, m.dir} {
		if left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir)); err != nil || len(left) > 0 {
			t.Errorf("still mounted: %v, %v", left, err)
		}
	}
}

// A storage that was removed while pods used it does not keep them.
func TestPodsGoAfterTheirStorage(t *testing.T) {
	c := newCluster(t)
	c.bound("linked", csi("h"))
	c.bound("mounted", csi("h2"))
	link := c.mount
	c.mount = func(r storage.MountVolumeRequest) error {
		if r.Handle == "h" {
			return link(r)
		}
		return unix.Mount("tmpfs", r.TargetPath, "tmpfs", 0, "size=1m")
	}
	m := c.manager(t, t.TempDir())
	if _, err := m.Setup(t.Context(), newPod(claimed("a", "linked", false), claimed("b", "mounted", false)), downward.Facts{}); err != nil {
		t.Fatal(err)
	}
	c.away = ErrNoStorage
	if err := m.Teardown(t.Context(), "uid"); err != nil {
		t.Fatal(err)
	}
	if left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(c.dir)); err != nil || len(left) > 0 {
		t.Errorf("still mounted: %v, %v", left, err)
	}
	if left, _ := os.ReadDir(filepath.Join(c.dir, "mounts")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAttachmentIsAwaited(t *testing.T) {
	c := newCluster(t)
	c.bound("c", csi("h"))
	c.attaches = true
	m := c.manager(t, t.TempDir())
	pod := newPod(claimed("data", "c", false))
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := m.Setup(short, pod, downward.Facts{}); err == nil || !strings.Contains(err.Error(), "timed out waiting for external-attacher of s.example CSI driver to attach volume h") {
		t.Fatalf("not attached: %v", err)
	}
	done := make(chan error, 1)
	go func() { _, err := m.Setup(t.Context(), pod, downward.Facts{}); done <- err }()
	a := &storagev1.VolumeAttachment{Status: storagev1.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: map[string]string{"device": "/dev/x"}}}
	c.mu.Lock()
	c.attachments[storage.AttachmentName("s.example", "h", "n1")] = a
	c.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := c.asked[0].PublishContext["device"]; got != "/dev/x" {
		t.Errorf("published %q", got)
	}
}
