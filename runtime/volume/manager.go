package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/runtime/downward"
)

// Source has the API objects that volumes are made of.
type Source interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	// Token requests a token of a service account for a pod.
	Token(ctx context.Context, pod *corev1.Pod, spec authv1.TokenRequestSpec) (authv1.TokenRequestStatus, error)
}

// Manager makes the volumes of the pods of one node. Calls for different pods may be made
// concurrently, calls for one pod may not, and Setup must not follow Release.
type Manager struct {
	dir    string
	src    Source
	tokens *tokens

	persistent Persistent
}

// NewManager makes a Manager that keeps everything below dir, one directory per pod UID.
func NewManager(dir string, src Source) *Manager {
	return &Manager{dir: dir, src: src, tokens: newTokens(src)}
}

// PodDir is where a pod's volumes are.
func (m *Manager) PodDir(uid string) string { return filepath.Join(m.dir, uid) }

func (m *Manager) volumeDir(uid, name string) string {
	return filepath.Join(m.PodDir(uid), "volumes", name)
}

// Setup makes all volumes of a pod or brings them up to date, and returns their paths by
// name. The error names the volume. Volumes of kinds that this node cannot make are
// errors.
func (m *Manager) Setup(ctx context.Context, pod *corev1.Pod, f downward.Facts) (map[string]string, error) {
	paths := map[string]string{}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		p, err := m.setup(ctx, pod, v, f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		paths[v.Name] = p
	}
	return paths, errors.Join(errs...)
}

// Failures are the errors of the volumes that Setup could not make, each for itself.
func Failures(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}

func (m *Manager) setup(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, f downward.Facts) (string, error) {
	if claim, _ := claimOf(pod, v); claim != "" {
		return m.claimed(ctx, pod, v)
	}
	p, err := m.make(ctx, pod, v, f)
	if err != nil {
		return "", setUpError(v.Name, err)
	}
	return p, nil
}

// make makes a volume that lives as long as its pod.
func (m *Manager) make(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, f downward.Facts) (string, error) {
	dir := m.volumeDir(string(pod.UID), v.Name)
	switch {
	case v.EmptyDir != nil:
		return dir, m.emptyDir(pod, v.EmptyDir, dir)
	case v.HostPath != nil:
		return v.HostPath.Path, hostPath(v.HostPath)
	}
	files, err := m.files(ctx, pod, v, f)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	_, err = writeAtomic(dir, files)
	return dir, err
}

func fsGroup(pod *corev1.Pod) int {
	if sc := pod.Spec.SecurityContext; sc != nil && sc.FSGroup != nil {
		return int(*sc.FSGroup)
	}
	return -1
}

func (m *Manager) emptyDir(pod *corev1.Pod, e *corev1.EmptyDirVolumeSource, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		mounted, err := mountinfo.Mounted(dir)
		if err != nil || mounted || e.Medium == corev1.StorageMediumDefault {
			return err
		}
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	switch e.Medium {
	case corev1.StorageMediumDefault:
	case corev1.StorageMediumMemory:
		opts := "mode=0777"
		if e.SizeLimit != nil && e.SizeLimit.Value() > 0 {
			opts += fmt.Sprintf(",size=%d", e.SizeLimit.Value())
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
			return fmt.Errorf("mount tmpfs: %w", err)
		}
	default:
		return fmt.Errorf("medium %q is not supported on this node", e.Medium)
	}
	mode := os.FileMode(0o777)
	if g := fsGroup(pod); g >= 0 {
		if err := os.Chown(dir, -1, g); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

func hostPath(h *corev1.HostPathVolumeSource) error {
	t := corev1.HostPathUnset
	if h.Type != nil {
		t = *h.Type
	}
	switch t {
	case corev1.HostPathUnset:
		return nil
	case corev1.HostPathDirectoryOrCreate:
		if err := os.MkdirAll(h.Path, 0o755); err != nil {
			return fmt.Errorf("hostPath: %w", err)
		}
	case corev1.HostPathFileOrCreate:
		f, err := os.OpenFile(h.Path, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return fmt.Errorf("hostPath: %w", err)
		}
		_ = f.Close()
	}
	st, err := os.Stat(h.Path)
	if err != nil {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	mode := st.Mode()
	ok := map[corev1.HostPathType]bool{
		corev1.HostPathDirectory: mode.IsDir(), corev1.HostPathDirectoryOrCreate: mode.IsDir(),
		corev1.HostPathFile: mode.IsRegular(), corev1.HostPathFileOrCreate: mode.IsRegular(),
		corev1.HostPathSocket:  mode&fs.ModeSocket != 0,
		corev1.HostPathCharDev: mode&fs.ModeCharDevice != 0, corev1.HostPathBlockDev: mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0,
	}[t]
	if !ok {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", h.Path, t)
	}
	return nil
}

// Teardown removes all volumes of a pod. What is mounted is unmounted first, by its storage
// where it has one; a pod that has none is no error.
func (m *Manager) Teardown(ctx context.Context, uid string) error {
	m.tokens.forget(uid)
	if err := m.Release(ctx, uid); err != nil {
		return err
	}
	return removeAll(m.PodDir(uid))
}

// Pods lists the UIDs that there are directories of.
func (m *Manager) Pods() ([]string, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pod directories: %w", err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}

func removeAll(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	return nil
}

// UnmountBelow unmounts all that is mounted in a directory, as agents and plugins that were
// killed leave it.
func UnmountBelow(dir string) error { return unmountBelow(dir) }

// unmountBelow unmounts all that is mounted in a directory.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err)
		}
	}
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	if len(left) > 0 { // never walk into a file system that is not ours
		return fmt.Errorf("%s is still mounted", left[0].Mountpoint)
	}
	return nil
}
