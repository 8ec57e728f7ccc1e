package volume

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// Permissions that the group of a pod gets on what is in its volumes.
const (
	groupFiles = 0o660
	groupDirs  = fs.ModeSetgid | 0o770
)

// ownedByGroup reports whether a volume becomes the group's of a pod: one that many nodes have is
// not for one pod to change.
func ownedByGroup(pv *corev1.PersistentVolume) bool {
	return pv.Spec.Local != nil || slices.Contains(pv.Spec.AccessModes, corev1.ReadWriteOnce) || slices.Contains(pv.Spec.AccessModes, corev1.ReadWriteOncePod)
}

// giveToGroup gives all that is in a directory to the fsGroup of a pod. Another pod may be
// writing there at the same time: nothing outside is changed, wherever links lead.
func giveToGroup(dir string, pod *corev1.Pod) error {
	gid := fsGroup(pod)
	if gid < 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if p := pod.Spec.SecurityContext.FSGroupChangePolicy; p != nil && *p == corev1.FSGroupChangeOnRootMismatch {
		st, err := root.Stat(".")
		if err != nil {
			return err
		}
		if own, ok := st.Sys().(*syscall.Stat_t); ok && int(own.Gid) == gid && st.Mode()&groupDirs == groupDirs {
			return nil
		}
	}
	return fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil {
			err = giveOne(root, p, e, gid)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while it was looked at
		}
		return err
	})
}

func giveOne(root *os.Root, p string, e fs.DirEntry, gid int) error {
	if err := root.Lchown(p, -1, gid); err != nil {
		return err
	}
	if e.Type()&fs.ModeSymlink != 0 {
		return nil
	}
	st, err := root.Lstat(p)
	if err != nil {
		return err
	}
	more := fs.FileMode(groupFiles)
	if st.IsDir() {
		more = groupDirs
	}
	if st.Mode()&fs.ModeSymlink != 0 || st.Mode()&more == more {
		return nil
	}
	return root.Chmod(p, st.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)|more)
}
