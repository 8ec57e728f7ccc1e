//go:build amd64 || arm64

package confine

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule refuses a system call, or where args are given a call with one of these arguments.
type rule struct {
	call  uint32
	errno unix.Errno
	arg   int // index of the argument that is looked at
	when  []match
	// but turns it around: all calls are refused but those with one of the arguments.
	but bool
}

// match is true of an argument whose low 32 bits, masked, are value.
type match struct{ mask, value uint32 }

const all = ^uint32(0)

func exactly(values ...uint32) []match {
	var out []match
	for _, v := range values {
		out = append(out, match{all, v})
	}
	return out
}

// refused are calls that no plugin has a use for: what changes the machine, looks into other
// processes, or has been a way out of confinement before. Most of them need privileges that a
// guest does not have; the filter is there for the day on which one of those checks has a hole.
var refused = []uint32{
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT,
	unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_NFSSERVCTL,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT,
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SYSLOG, unix.SYS_VHANGUP, unix.SYS_LOOKUP_DCOOKIE,
	unix.SYS_OPEN_BY_HANDLE_AT,
}

// mounting are those that take SYS_ADMIN, and are for who was given that.
var mounting = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
	unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR,
}

// unknown are calls whose arguments no filter can read, or that go past all filters. Programs
// do without them where a kernel does not know them.
var unknown = []uint32{unix.SYS_CLONE3, unix.SYS_OPENAT2}

var rings = []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER}

// rulesOf are the rules for one guest.
func rulesOf(g *Guest) []rule {
	var out []rule
	add := func(errno unix.Errno, calls ...uint32) {
		for _, c := range calls {
			out = append(out, rule{call: c, errno: errno})
		}
	}
	add(unix.EPERM, refused...)
	add(unix.EPERM, refusedHere...)
	add(unix.ENOSYS, rings...)
	if !g.has("BPF") {
		add(unix.EPERM, unix.SYS_BPF)
	}
	// Its host starts it stopped, and lets it go, in some cases.
	out = append(out, rule{call: unix.SYS_PTRACE, errno: unix.EPERM, when: exactly(unix.PTRACE_TRACEME, unix.PTRACE_DETACH), but: true})
	out = append(out, rule{call: unix.SYS_PERSONALITY, errno: unix.EPERM, when: exactly(0, all), but: true})
	out = append(out, rule{call: unix.SYS_IOCTL, errno: unix.EPERM, arg: 1, when: exactly(unix.TIOCSTI, tiocLinux)})
	// Sockets of other families, such as those to the machine's hypervisor, know no network
	// namespaces.
	families := exactly(unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)
	if g.has("NET_RAW", "NET_ADMIN") {
		families = append(families, exactly(unix.AF_PACKET, unix.AF_XDP)...)
	}
	for _, call := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		out = append(out, rule{call: call, errno: unix.EAFNOSUPPORT, when: families, but: true})
	}
	if g.has("SYS_ADMIN") {
		return out // who may mount may run containers
	}
	add(unix.EPERM, mounting...)
	add(unix.ENOSYS, unknown...)
	// What it has open is counted by looking at its processes, whose threads share that.
	const threads = unix.CLONE_THREAD | unix.CLONE_FILES
	out = append(out, rule{call: unix.SYS_CLONE, errno: unix.EPERM, when: []match{
		{unix.CLONE_NEWUSER, unix.CLONE_NEWUSER}, {threads, unix.CLONE_THREAD},
	}})
	if g.Root || g.has("FOWNER", "CHOWN", "DAC_OVERRIDE") {
		return out
	}
	// A file that runs as its owner would be of use to others on the machine.
	setID := []match{{unix.S_ISUID, unix.S_ISUID}, {unix.S_ISGID, unix.S_ISGID}}
	for call, arg := range modes {
		out = append(out, rule{call: call, errno: unix.EPERM, arg: arg, when: setID})
	}
	return out
}

// modes are calls that make or change files, with the argument that is the mode.
var modes = func() map[uint32]int {
	m := map[uint32]int{
		unix.SYS_FCHMOD: 1, unix.SYS_FCHMODAT: 2, unix.SYS_FCHMODAT2: 2, unix.SYS_OPENAT: 3, unix.SYS_MKNODAT: 2,
	}
	for call, arg := range modesHere {
		m[call] = arg
	}
	return m
}()

const (
	tiocLinux = 0x541C
	// Offsets in what a filter sees of a call, and the first number of calls of x32.
	offsetCall, offsetArch, offsetArgs = 0, 4, 16
	firstX32                           = 0x40000000
)

// program writes rules down for the kernel.
func program(rules []rule) ([]bpf.RawInstruction, error) {
	ret := func(e unix.Errno) bpf.Instruction { return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(e)} }
	out := []bpf.Instruction{
		// Calls of other kinds of programs have other numbers: there are none.
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		ret(unix.ENOSYS),
		bpf.LoadAbsolute{Off: offsetCall, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstX32, SkipTrue: 1},
		ret(unix.ENOSYS),
	}
	for _, r := range rules {
		var body []bpf.Instruction
		if len(r.when) == 0 {
			body = append(body, ret(r.errno))
		} else {
			for i, m := range r.when {
				body = append(body,
					bpf.LoadAbsolute{Off: uint32(offsetArgs + 8*r.arg), Size: 4},
					bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: m.mask})
				// Over the tests that are left, and what follows where none matches.
				left := uint8(3*(len(r.when)-1-i) + 1)
				body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: m.value & m.mask, SkipTrue: left})
			}
			refuse, pass := ret(r.errno), bpf.Instruction(bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
			if r.but {
				body = append(body, refuse, pass) // no match falls into the first
			} else {
				body = append(body, pass, refuse)
			}
		}
		out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.call, SkipFalse: uint8(len(body))})
		out = append(out, body...)
	}
	out = append(out, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
	raw, err := bpf.Assemble(out)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return raw, nil
}

// filterCalls puts the filter onto the calling thread, which must have given up gaining
// privileges. What it forks inherits it.
func filterCalls(g *Guest) error {
	rules := rulesOf(g)
	slices.SortStableFunc(rules, func(a, b rule) int { return int(int64(a.call) - int64(b.call)) })
	raw, err := program(rules)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("the kernel takes no filter: %w", errno)
	}
	return nil
}
