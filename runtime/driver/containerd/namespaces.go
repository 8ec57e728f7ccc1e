package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var cloneFlags = map[string]int{"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS}

// pinNamespaces makes new namespaces and keeps them alive by bind mounts at path(kind).
// The loopback interface of a new network namespace is set up and the hostname is set.
func pinNamespaces(kinds []string, path func(string) string, hostname string) error {
	if len(kinds) == 0 {
		return nil
	}
	flags := 0
	for _, k := range kinds {
		flags |= cloneFlags[k]
		f, err := os.OpenFile(path(k), os.O_CREATE|os.O_RDONLY|os.O_EXCL, 0o444)
		if err != nil {
			return fmt.Errorf("pin %s namespace: %w", k, err)
		}
		_ = f.Close() // nothing was written: it is where the mount goes
	}
	return onThread(func() error {
		if err := unix.Unshare(flags); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
		if flags&unix.CLONE_NEWUTS != 0 && hostname != "" {
			if err := unix.Sethostname([]byte(hostname)); err != nil {
				return fmt.Errorf("set hostname %q: %w", hostname, err)
			}
		}
		if flags&unix.CLONE_NEWNET != 0 {
			lo, err := netlink.LinkByName("lo")
			if err == nil {
				err = netlink.LinkSetUp(lo)
			}
			if err != nil {
				return fmt.Errorf("set up loopback: %w", err)
			}
		}
		for _, k := range kinds {
			src := fmt.Sprintf("/proc/self/task/%d/ns/%s", unix.Gettid(), k)
			if err := unix.Mount(src, path(k), "none", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("pin %s namespace: %w", k, err)
			}
		}
		return nil
	})
}

// inNetNS runs fn on a thread in the network namespace at path.
func inNetNS(path string, fn func() error) error {
	return onThread(func() error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on an OS thread that ends with it, so that whatever namespaces fn
// leaves the thread in, no other goroutine ever meets them.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The main thread never ends, and /proc/self shows its namespaces. While it is
			// held here, another goroutine gets another thread.
			defer runtime.UnlockOSThread()
			result <- onThread(fn)
			return
		}
		// Never unlocked: the runtime ends the thread with the goroutine.
		result <- fn()
	}()
	return <-result
}

// isNamespace reports whether a namespace is pinned at path.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// removeStateDir unmounts whatever is mounted below dir and removes it.
func removeStateDir(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	// The last mounted comes off first.
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err)
		}
	}
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	if len(left) > 0 { // never walk into a file system that is not ours
		return fmt.Errorf("%s is still mounted in %s", left[0].Mountpoint, dir)
	}
	if err := os.RemoveAll(filepath.Clean(dir)); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}
