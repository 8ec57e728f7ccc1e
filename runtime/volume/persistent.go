package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/storage"
)

// placesDir is where, in the directory of a storage, it is given places to mount at; what a guest
// mounts there and nowhere else reaches the machine.
const placesDir = "mounts"

// mounted is what is remembered of a volume that was mounted for a pod, from before that was
// begun: what is half done is undone.
type mounted struct {
	// Volume is the name of the PersistentVolume.
	Volume string `json:"volume"`
	// Path is where the pod finds it.
	Path string `json:"path"`
	// Driver and Handle name it to its storage; empty for volumes that have none.
	Driver string `json:"driver,omitempty"`
	Handle string `json:"handle,omitempty"`
	// Dir is the storage's directory, and Place where in it the storage was to mount.
	Dir   string `json:"dir,omitempty"`
	Place string `json:"place,omitempty"`
	Done  bool   `json:"done"`
}

// there reports whether the volume is still mounted, as it is not after a boot.
func (r *mounted) there() (bool, error) {
	ok, err := mountinfo.Mounted(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return ok, err
}

func (m *Manager) recordFile(uid, volume string) string {
	return filepath.Join(m.PodDir(uid), "claims", volume+".json")
}

func (m *Manager) record(uid, volume string) (*mounted, error) {
	b, err := os.ReadFile(m.recordFile(uid, volume))
	if err != nil {
		return nil, err
	}
	r := &mounted{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("what is remembered of volume %q: %w", volume, err)
	}
	return r, nil
}

func (m *Manager) remember(uid, volume string, r *mounted) error {
	file := m.recordFile(uid, volume)
	b, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".tmp", file)
	}
	if err != nil {
		return fmt.Errorf("remember the mount: %w", err)
	}
	return nil
}

// mount mounts a volume of its storage, or a local one, for a pod.
func (m *Manager) mount(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, pv *corev1.PersistentVolume, readOnly bool) (string, error) {
	uid := string(pod.UID)
	r := &mounted{Volume: pv.Name, Path: m.volumeDir(uid, v.Name)}
	source := func() (*os.File, error) { return os.Open(pv.Spec.Local.Path) }
	if csi := pv.Spec.CSI; csi != nil {
		services, dir, err := m.mounter(csi.Driver)
		if err != nil {
			return "", fmt.Errorf("MountVolume.MountDevice failed for volume %q : %w", pv.Name, err)
		}
		var published map[string]string
		if services.Attacher != nil {
			if published, err = m.attached(ctx, pv); err != nil {
				return "", err
			}
		}
		r.Driver, r.Handle, r.Dir, r.Place = csi.Driver, csi.VolumeHandle, dir, path.Join(placesDir, uid, v.Name)
		ask := storage.MountVolumeRequest{
			Handle: csi.VolumeHandle, Context: csi.VolumeAttributes, PublishContext: published, TargetPath: filepath.Join(dir, r.Place),
			ReadOnly: readOnly, Capability: capability(pv),
			Pod: storage.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: uid, ServiceAccount: pod.Spec.ServiceAccountName},
		}
		source = func() (*os.File, error) { return placed(ctx, services.Mounter, ask, r) }
	}
	if err := m.remember(uid, v.Name, r); err != nil {
		return "", setUpError(pv.Name, err)
	}
	if err := bind(source, r.Path, readOnly); err != nil {
		return "", setUpError(pv.Name, err)
	}
	if !readOnly && ownedByGroup(pv) {
		if err := giveToGroup(r.Path, pod); err != nil {
			return "", setUpError(pv.Name, fmt.Errorf("applyFSGroup failed for vol %s: %w", pv.Name, err))
		}
	}
	r.Done = true
	if err := m.remember(uid, v.Name, r); err != nil {
		return "", setUpError(pv.Name, err)
	}
	return r.Path, nil
}

// mounter is the storage of a name, which mounts on this node.
func (m *Manager) mounter(driver string) (storage.Services, string, error) {
	if m.persistent.Storages == nil {
		return storage.Services{}, "", fmt.Errorf("driver name %s not found in the list of registered CSI drivers: this node has no storages", driver)
	}
	services, dir, err := m.persistent.Storages.Storage(driver)
	if err != nil {
		return services, dir, fmt.Errorf("driver name %s not found in the list of registered CSI drivers: %w", driver, err)
	}
	if services.Mounter == nil {
		return services, dir, fmt.Errorf("the storage %s does not mount volumes", driver)
	}
	return services, dir, nil
}

// placed lets a storage mount at a place in its directory, and opens what is there then. The
// directory is the storage's, which may be no friend: nothing outside of it is opened, whatever
// it puts there.
func placed(ctx context.Context, by storage.Mounter, ask storage.MountVolumeRequest, r *mounted) (*os.File, error) {
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if err := makePlace(root, r.Place); err != nil {
		return nil, err
	}
	if err := by.MountVolume(ctx, ask); err != nil {
		return nil, fmt.Errorf("storage %s: %w", r.Driver, err)
	}
	at, err := whereLed(root, r)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(at)
	if err != nil {
		return nil, fmt.Errorf("storage %s: what it has mounted: %w", r.Driver, err)
	}
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		_ = f.Close()
		return nil, errors.Join(err, fmt.Errorf("storage %s: %s is no directory", r.Driver, ask.TargetPath))
	}
	return f, nil
}

// whereLed is what is to be opened for a place: the place, on which something is mounted, or what
// a link there leads to.
func whereLed(root *os.Root, r *mounted) (string, error) {
	st, err := root.Lstat(r.Place)
	if err != nil {
		return "", err
	}
	full := filepath.Join(r.Dir, r.Place)
	if st.Mode()&fs.ModeSymlink == 0 {
		there, err := mountinfo.Mounted(full)
		if err == nil && !there {
			err = fmt.Errorf("storage %s says that it has mounted the volume, and nothing is mounted at %s that others see: "+
				"a plugin of a third party needs the privileges SYS_ADMIN and MountPropagation for that, or leaves a symbolic link there to a directory of its own", r.Driver, full)
		}
		return r.Place, err
	}
	to, err := root.Readlink(r.Place)
	if err != nil || !filepath.IsAbs(to) {
		return r.Place, err
	}
	// A root opens no absolute links, also where they lead into it.
	within, err := filepath.Rel(r.Dir, to)
	if err != nil || !filepath.IsLocal(within) {
		return "", fmt.Errorf("storage %s: the link at %s leads to %s, which is not below its own directory", r.Driver, full, to)
	}
	return within, nil
}

// makePlace makes a directory that belongs, as those above it, to whose root is.
func makePlace(root *os.Root, place string) error {
	st, err := root.Stat(".")
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the owner of the storage's directory is not known")
	}
	at := ""
	for part := range strings.SplitSeq(place, "/") {
		at = path.Join(at, part)
		switch err := root.Mkdir(at, 0o700); {
		case err == nil:
			if err := root.Lchown(at, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return nil
}

// bind mounts a directory at a path; what is mounted there is unmounted first.
func bind(source func() (*os.File, error), at string, readOnly bool) error {
	if err := unmount(at); err != nil {
		return err
	}
	f, err := source()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := os.MkdirAll(at, 0o750); err != nil {
		return err
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return errors.Join(fmt.Errorf("make it read-only: %w", err), unmount(at))
	}
	return nil
}

// Release unmounts the volumes of claims of a pod that has ended, for other pods to use. What is
// unmounted already is no error.
func (m *Manager) Release(ctx context.Context, uid string) error {
	files, err := filepath.Glob(m.recordFile(uid, "*"))
	if err != nil || len(files) == 0 {
		return err //nolint:wrapcheck // the pattern is valid
	}
	// Parts of volumes, too, which subPath has mounted.
	if err := unmountBelow(m.PodDir(uid)); err != nil {
		return err
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		r, err := m.record(uid, name)
		if err == nil {
			err = m.unmount(ctx, r)
		}
		if err == nil {
			err = os.Remove(file)
		}
		if err != nil {
			return fmt.Errorf("UnmountVolume.TearDown failed for volume %q : %w", name, err)
		}
	}
	return nil
}

func (m *Manager) unmount(ctx context.Context, r *mounted) error {
	if err := os.Remove(r.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.Driver == "" {
		return nil
	}
	services, _, err := m.mounter(r.Driver)
	if errors.Is(err, ErrNoStorage) { // what it has mounted is in nobody's way but the pod's
		return errors.Join(unmount(filepath.Join(r.Dir, r.Place)), r.leave())
	}
	if err != nil {
		return err
	}
	if err := services.Mounter.UnmountVolume(ctx, r.Handle, filepath.Join(r.Dir, r.Place)); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("storage %s: %w", r.Driver, err)
	}
	return r.leave()
}

// leave removes the place in the storage's directory.
func (r *mounted) leave() error {
	root, err := os.OpenRoot(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(r.Place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = root.Remove(path.Dir(r.Place)) // which other volumes of the pod may need
	return nil
}

// Abandon removes all volumes of a pod where nobody can be asked to unmount them: the node is
// being torn down.
func (m *Manager) Abandon(uid string) error {
	files, _ := filepath.Glob(m.recordFile(uid, "*")) // the pattern is valid
	var errs []error
	for _, file := range files {
		r, err := m.record(uid, strings.TrimSuffix(filepath.Base(file), ".json"))
		if err == nil {
			err = unmount(r.Path)
		}
		if err == nil && r.Driver != "" {
			err = errors.Join(unmount(filepath.Join(r.Dir, r.Place)), r.leave())
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	m.tokens.forget(uid)
	return removeAll(m.PodDir(uid))
}
