package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ownProc shows a guest that is stopped the /proc of its own namespace of processes. Until
// then it has the host's, in which it finds itself by /proc/self but by none of the numbers
// that it knows itself, its processes and its threads by; whoever looks up the network
// namespace of a thread there, as CNI's programs do, does not find it.
//
// That namespace begins with the guest, so nobody could mount it before, and the thread that
// forked it has no privileges left; it is done from another.
func (c *Cell) ownProc(pid int) error {
	if !slices.Contains(c.report.Measures, OwnView) || !slices.Contains(c.report.Measures, OwnProcesses) {
		return nil
	}
	at := filepath.Join("/proc", strconv.Itoa(pid), "ns")
	mounts, err := os.Open(filepath.Join(at, "mnt"))
	if err != nil {
		return fmt.Errorf("proc of the guest: %w", err)
	}
	defer func() { _ = mounts.Close() }()
	processes, err := os.Open(filepath.Join(at, "pid"))
	if err != nil {
		return fmt.Errorf("proc of the guest: %w", err)
	}
	defer func() { _ = processes.Close() }()
	program, _ := exec.LookPath("mount") // before the guest's view is entered
	t := newThread()
	defer t.end()
	err = t.do(func() error {
		// Only a thread that shares its directory with no other may enter a view.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("directory of the thread: %w", err)
		}
		if err := unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("view of the guest: %w", err)
		}
		err := mountProcOf(int(processes.Fd()))
		if err != nil && program != "" {
			err = runMountIn(int(processes.Fd()), program)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("proc of the guest: %w", err)
	}
	return nil
}

// mountProcOf mounts the proc of a namespace of processes, as Linux does from 6.18 on without
// a process in it.
func mountProcOf(processes int) error {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	if err := errors.Join(unix.FsconfigSetFd(fs, "pidns", processes), unix.FsconfigCreate(fs)); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	defer func() { _ = unix.Close(tree) }()
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// runMountIn has mount(8) do it, as a process of that namespace: older kernels mount the proc
// of whoever asks.
func runMountIn(processes int, program string) error {
	if err := unix.Setns(processes, unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("processes of the guest: %w", err)
	}
	cmd := exec.Command(program, "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc") //nolint:noctx // ends at once
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}
