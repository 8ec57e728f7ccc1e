package confine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// bad pointers make calls fail that get past the filter, too: with another error.
const bad = 1

// harmful are the calls that a guest tries, with what it gets. Where a guest is nobody, most
// would be refused for that: EPERM then says nothing, and those are tried as root as well.
var harmful = []struct {
	name  string
	call  uintptr
	args  [6]uintptr
	errno syscall.Errno
}{
	{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{bad, 1, bad}, unix.EPERM},
	{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{^uintptr(0)}, unix.EPERM},
	{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{0, 99, bad}, unix.EPERM},
	{"bpf", unix.SYS_BPF, [6]uintptr{0, bad, 8}, unix.EPERM},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{bad}, unix.EPERM},
	{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{0xffff}, unix.EPERM},
	{"keyctl", unix.SYS_KEYCTL, [6]uintptr{0, ^uintptr(0)}, unix.EPERM},
	{"add_key", unix.SYS_ADD_KEY, [6]uintptr{bad}, unix.EPERM},
	{"ptrace", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, 999999999}, unix.EPERM},
	{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{999999999}, unix.EPERM},
	{"mount", unix.SYS_MOUNT, [6]uintptr{bad, bad, bad, 0, bad}, unix.EPERM},
	{"fsopen", unix.SYS_FSOPEN, [6]uintptr{bad}, unix.EPERM},
	{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{^uintptr(99), bad, 0xffff}, unix.EPERM},
	{"unshare", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}, unix.EPERM},
	{"clone", unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWUSER | unix.CLONE_SIGHAND}, unix.EPERM},
	{"clone with files of its own", unix.SYS_CLONE, [6]uintptr{unix.CLONE_THREAD}, unix.EPERM},
	{"clone3", unix.SYS_CLONE3, [6]uintptr{bad, 8}, unix.ENOSYS},
	{"setns", unix.SYS_SETNS, [6]uintptr{^uintptr(0)}, unix.EPERM},
	{"openat2", unix.SYS_OPENAT2, [6]uintptr{^uintptr(99), bad, bad, 0}, unix.ENOSYS},
	{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1, bad}, unix.ENOSYS},
	{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{0, bad}, unix.EPERM},
	{"personality", unix.SYS_PERSONALITY, [6]uintptr{0x0400000}, unix.EPERM},
	{"type into the terminal", unix.SYS_IOCTL, [6]uintptr{^uintptr(0), unix.TIOCSTI}, unix.EPERM},
	{"vsock", unix.SYS_SOCKET, [6]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
	{"alg", unix.SYS_SOCKET, [6]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET}, unix.EAFNOSUPPORT},
	{"setuid file", unix.SYS_FCHMODAT, [6]uintptr{^uintptr(99), bad, 0o4755}, unix.EPERM},
	{"setgid file", unix.SYS_FCHMOD, [6]uintptr{^uintptr(0), 0o2755}, unix.EPERM},
	{"new setuid file", unix.SYS_OPENAT, [6]uintptr{^uintptr(99), bad, unix.O_CREAT, 0o4755}, unix.EPERM},
	{"a call of another processor", 0x40000000 + 39, [6]uintptr{}, unix.ENOSYS},
}

// calls tries what is harmful, and what is not.
func calls() {
	got := map[string]int{}
	for _, h := range harmful {
		_, _, errno := syscall.RawSyscall6(h.call, h.args[0], h.args[1], h.args[2], h.args[3], h.args[4], h.args[5])
		got[h.name] = int(errno)
	}
	// A thread, a process, sockets, and files of all kinds.
	runtime.LockOSThread()
	done := make(chan struct{})
	go func() { close(done) }()
	<-done
	for name, err := range map[string]error{
		"exec": exec.Command("/proc/self/exe", "play", "nothing").Run(),
		"mode": func() error {
			p := filepath.Join(os.TempDir(), "mode")
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Chmod(p, 0o755|os.ModeSticky)
		}(),
		"sockets": func() error {
			for _, family := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
				s, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
				if err != nil {
					return fmt.Errorf("family %d: %w", family, err)
				}
				_ = unix.Close(s)
			}
			return nil
		}(),
		"memory": func() error {
			b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			return unix.Munmap(b)
		}(),
		"personality": func() error {
			_, _, errno := syscall.RawSyscall(unix.SYS_PERSONALITY, uintptr(^uint32(0)), 0, 0)
			if errno != 0 {
				return errno
			}
			return nil
		}(),
	} {
		if err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			got["fine: "+name] = -1
		}
	}
	b, _ := json.Marshal(got)
	fmt.Println(string(b))
}

func TestHarmfulCallsAreRefused(t *testing.T) {
	m := newMachine(t, confine.Range{})
	for name, root := range map[string]bool{"own user": false, "root": true} {
		t.Run(name, func(t *testing.T) {
			g := m.guest()
			g.Root = root
			cell, out, err := m.run(t, g, "calls")
			if !slices.Contains(cell.Report().Measures, confine.FilteredCalls) {
				t.Skip("no filter: ", cell.Report().Skipped)
			}
			got := map[string]int{}
			if err != nil || json.Unmarshal([]byte(out), &got) != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, h := range harmful {
				want := int(h.errno)
				if root && slices.Contains([]string{"setuid file", "setgid file", "new setuid file"}, h.name) {
					continue // what root makes is its own
				}
				if got[h.name] != want {
					t.Errorf("%s: %s, not %s", h.name, syscall.Errno(got[h.name]), h.errno)
				}
				delete(got, h.name)
			}
			for name, errno := range got {
				if errno < 0 {
					t.Errorf("%s does not work\n%s", name, out)
				}
			}
		})
	}
}
