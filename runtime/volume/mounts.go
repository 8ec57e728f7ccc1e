package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Mounts says how a container mounts the volumes at paths (as Setup returned them).
// expand resolves $(VAR) in subPathExpr.
func (m *Manager) Mounts(pod *corev1.Pod, c *corev1.Container, paths map[string]string, expand func(string) (string, error)) ([]driver.Mount, error) {
	readOnly := map[string]bool{}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		// What is written by the agent is not for containers to write.
		_, claimReadOnly := claimOf(pod, v)
		readOnly[v.Name] = claimReadOnly || v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
	}
	out := make([]driver.Mount, 0, len(c.VolumeMounts))
	for i, vm := range c.VolumeMounts {
		host, ok := paths[vm.Name]
		if !ok {
			return nil, fmt.Errorf("container %s mounts volume %q, which the pod does not have", c.Name, vm.Name)
		}
		sub := vm.SubPath
		if vm.SubPathExpr != "" {
			var err error
			if sub, err = expand(vm.SubPathExpr); err != nil {
				return nil, fmt.Errorf("container %s, subPathExpr of volume %q: %w", c.Name, vm.Name, err)
			}
		}
		if sub != "" {
			pinned := filepath.Join(m.PodDir(string(pod.UID)), "subpaths", vm.Name, c.Name, strconv.Itoa(i))
			if err := pinSubPath(host, sub, pinned, fsGroup(pod)); err != nil {
				return nil, fmt.Errorf("container %s, subPath %q of volume %q: %w", c.Name, sub, vm.Name, err)
			}
			host = pinned
		}
		mount := driver.Mount{HostPath: host, ContainerPath: vm.MountPath, ReadOnly: vm.ReadOnly || readOnly[vm.Name]}
		if !filepath.IsAbs(mount.ContainerPath) {
			mount.ContainerPath = "/" + mount.ContainerPath
		}
		if vm.RecursiveReadOnly != nil && *vm.RecursiveReadOnly != corev1.RecursiveReadOnlyDisabled {
			mount.RecursiveReadOnly = true
		}
		if vm.MountPropagation != nil {
			switch *vm.MountPropagation {
			case corev1.MountPropagationHostToContainer:
				mount.Propagation = "rslave"
			case corev1.MountPropagationBidirectional:
				mount.Propagation = "rshared"
			}
		}
		out = append(out, mount)
	}
	return out, nil
}

// pinSubPath bind-mounts a part of a volume at pinned. The part is opened so that no link
// leads out of the volume, and what was opened is what is mounted: the pod cannot change
// it in between.
func pinSubPath(volume, sub, pinned string, gid int) error {
	if !filepath.IsLocal(sub) {
		return errors.New("must be a relative path without \"..\"")
	}
	if st, err := os.Stat(volume); err == nil && !st.IsDir() {
		return fmt.Errorf("%s is not a directory", volume)
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(sub)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(sub, 0o777); err != nil {
			return err
		}
		f, err = root.Open(sub)
		if err == nil {
			mode := os.FileMode(0o777)
			if gid >= 0 {
				if err := f.Chown(-1, gid); err != nil {
					_ = f.Close()
					return err
				}
				mode |= os.ModeSetgid
			}
			if err := f.Chmod(mode); err != nil {
				_ = f.Close()
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// A restarted container gets what is there now.
	if err := unmount(pinned); err != nil {
		return err
	}
	if err := os.RemoveAll(pinned); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(pinned), 0o711); err != nil {
		return err
	}
	if st.IsDir() {
		err = os.Mkdir(pinned, 0o711)
	} else {
		err = os.WriteFile(pinned, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), pinned, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	return nil
}

func unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", strings.TrimSpace(path), err)
}
