package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// enterEnv marks a process that is to become another program in other namespaces.
const enterEnv = "ROBUSTNESS_ENTER"

// The descriptors that such a process is given.
const (
	netFD = 3 + iota
	mountFD
)

// Enter must be called first in main or TestMain: in a process that command made, it joins
// the namespaces and becomes the program; otherwise it returns.
func Enter() {
	if os.Getenv(enterEnv) == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "entering namespaces:", become())
	os.Exit(1)
}

func become() error {
	runtime.LockOSThread()
	if err := unix.Setns(netFD, unix.CLONE_NEWNET); err != nil {
		return err
	}
	// A thread can change its mounts only where it shares its folder with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(mountFD, unix.CLONE_NEWNS); err != nil {
		return err
	}
	for _, fd := range []int{netFD, mountFD} {
		unix.CloseOnExec(fd)
	}
	if err := os.Unsetenv(enterEnv); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// command is a program in the network of a site and the mounts of a disk.
func command(site, mounts *os.File, env []string, program string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, append([]string{program}, args...)...)
	cmd.Env = append(append(os.Environ(), enterEnv+"=1"), env...)
	cmd.ExtraFiles = []*os.File{site, mounts}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
