package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// oomScore of guests: where the machine has no memory left, they go before their host.
const oomScore = "500"

// openFiles that one process of a guest may have.
const openFiles = 4096

// Cell is where one process of a guest is started.
type Cell struct {
	guest  Guest
	thread *thread
	group  group               // nil where there is none
	mover  func(pid int) error // puts a process into the group; nil where it is forked into it
	report Report
	spaces uintptr // namespaces that the process is forked into

	closing sync.Once
	mu      sync.Mutex
	first   *os.Process // once it was started
	last    Usage       // when the group was removed
	closed  bool
}

// Open makes a cell for one life of a guest. It fails where the guest is not possible at all
// (a directory is missing); measures that the machine does not allow are in the report.
func (k *Keeper) Open(g Guest) (*Cell, error) {
	user, userErr := k.users.of(g.Name)
	want := []Measure{OwnGroup, OwnView, OwnUser, OwnProcesses, OwnNetwork, FileLimits, NoPrivileges, FilteredCalls}
	want = slices.DeleteFunc(want, func(m Measure) bool {
		return g.Network && m == OwnNetwork || g.Root && m == OwnUser
	})
	if err := k.prepare(&g); err != nil {
		return nil, err
	}
	var skipped []string
	skip := func(m Measure, err error) {
		skipped = append(skipped, fmt.Sprintf("%s: %v", m, err))
		want = slices.DeleteFunc(want, func(o Measure) bool { return o == m })
		switch {
		case m == OwnView && os.Geteuid() == 0:
			// Only through its view a user of its own gets at what is the host's.
			if slices.Contains(want, OwnUser) {
				skipped = append(skipped, fmt.Sprintf("%s: needs a view of its own", OwnUser))
				want = slices.DeleteFunc(want, func(o Measure) bool { return o == OwnUser })
			}
			want = append(want, LandlockFiles)
		case m == OwnView:
			want = append(want, LandlockFiles)
		case m == OwnNetwork:
			want = append(want, LandlockNetwork)
		}
	}
	if userErr != nil {
		skip(OwnUser, userErr)
	}
	if os.Geteuid() != 0 {
		err := errors.New("the host does not run as root")
		for _, m := range []Measure{OwnGroup, OwnUser, OwnView, OwnProcesses, OwnNetwork} {
			if slices.Contains(want, m) {
				skip(m, err)
			}
		}
	}
	name := filepath.Join(k.parent, fmt.Sprintf("%s-%d", g.Name, k.cells.Add(1)))
	for {
		c := &Cell{guest: g, report: Report{UserID: uint32(os.Geteuid())}}
		if slices.Contains(want, OwnUser) {
			c.report.UserID = user
			if err := openSockets(g.Read); err != nil {
				skip(OwnUser, err)
				continue
			}
		}
		if os.Geteuid() == 0 {
			if err := giveTo(c.report.UserID, g.Write); err != nil {
				return nil, err
			}
		}
		if slices.Contains(want, OwnGroup) {
			var err error
			if c.group, err = newGroup(name, g.Limits); err != nil {
				skip(OwnGroup, err)
				continue
			}
		}
		c.thread = newThread()
		err := c.thread.do(func() error { return c.enter(k, want) })
		var f *failure
		var missing *givenError
		if errors.As(err, &missing) {
			c.Close()
			return nil, missing
		}
		if errors.As(err, &f) {
			// A thread with half of it can't be used for anything.
			c.Close()
			skip(f.measure, f.err)
			continue
		}
		c.report.Measures, c.report.Skipped = want, skipped
		if i := slices.Index(want, NoPrivileges); i >= 0 && len(g.Capabilities) > 0 {
			c.report.Measures = slices.Clone(want)
			c.report.Measures[i] = NoPrivileges + Measure(" but "+strings.Join(g.Capabilities, ", "))
		}
		return c, nil
	}
}

// giveTo makes directories, and all that is in them, the user's and nobody else's.
func giveTo(user uint32, dirs []string) error {
	for _, dir := range dirs {
		var st unix.Stat_t
		err := unix.Lstat(dir, &st)
		if err == nil && st.Uid != user { // the directory itself comes last, so that this is done once
			err = filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
				if err != nil || p == dir {
					return err
				}
				return os.Lchown(p, int(user), int(user))
			})
			err = errors.Join(err, os.Chmod(dir, 0o700), os.Lchown(dir, int(user), int(user)))
		}
		if err != nil {
			return fmt.Errorf("directory of the guest: %w", err)
		}
	}
	return nil
}

// openSockets lets all users connect to the sockets that a guest is given. Each lies in a
// directory that only the host may enter, and in the view of the guest.
func openSockets(paths []string) error {
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Mode&0o006 == 0o006 {
			continue // what is missing is said where it is taken
		}
		guarded := false
		for dir := filepath.Dir(p); dir != "/" && !guarded; dir = filepath.Dir(dir) {
			var d unix.Stat_t
			guarded = unix.Stat(dir, &d) == nil && d.Mode&0o001 == 0
		}
		if !guarded {
			return fmt.Errorf("everybody could get at the socket %s: make the mode of its directory 0700", p)
		}
		if err := os.Chmod(p, 0o666); err != nil {
			return fmt.Errorf("socket for the guest: %w", err)
		}
	}
	return nil
}

// failure is a measure that the machine does not allow.
type failure struct {
	measure Measure
	err     error
}

func (f *failure) Error() string { return string(f.measure) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// enter puts the confinement onto the calling thread. The order matters: the last ones take
// away what the others need.
func (c *Cell) enter(k *Keeper, want []Measure) error {
	for _, step := range []struct {
		measure Measure
		take    func() error
	}{
		{OwnGroup, func() (err error) { c.mover, err = c.group.join(c.thread.tid); return err }},
		{OwnView, func() error { return newView(c.guest, c.report.UserID, k.config.Hide) }},
		{OwnProcesses, c.ownProcesses},
		{OwnNetwork, ownNetwork},
		{OwnUser, func() error { return nil }}, // when it is forked
		{FileLimits, func() error { return mayLimit(c.report.UserID) }},
		{NoPrivileges, func() error { return noPrivileges(c.guest.Capabilities) }},
		{LandlockFiles, func() error { return landlockFiles(c.guest) }},
		{LandlockNetwork, landlockNetwork},
		{FilteredCalls, func() error { return filterCalls(&c.guest) }},
	} {
		if !slices.Contains(want, step.measure) {
			continue
		}
		if err := step.take(); err != nil {
			return &failure{step.measure, err}
		}
	}
	return nil
}

// ownProcesses takes namespaces of IPC and names now, which shows that it may, and one of
// processes when the guest is forked: a thread that had one could fork once.
func (c *Cell) ownProcesses() error {
	if err := unix.Unshare(unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	if _, err := os.Stat("/proc/self/ns/pid"); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	c.spaces = unix.CLONE_NEWPID
	return nil
}

// ownNetwork leaves the thread with nothing but a loopback interface.
func ownNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP)
		err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// Start starts the guest. It sets what it needs in cmd.SysProcAttr and leaves the rest. The
// guest is killed when its cell is closed or its host ends.
func (c *Cell) Start(cmd *exec.Cmd) error {
	attr := cmd.SysProcAttr
	if attr == nil {
		attr = &syscall.SysProcAttr{}
		cmd.SysProcAttr = attr
	}
	attr.Pdeathsig = syscall.SIGKILL
	attr.Cloneflags |= c.spaces
	if id := c.report.UserID; id != uint32(os.Geteuid()) {
		attr.Credential = &syscall.Credential{Uid: id, Gid: id}
		attr.AmbientCaps = capabilityNumbers(c.guest.Capabilities)
	}
	// It is stopped before it does anything, until it is where it belongs and has its limits.
	attr.Ptrace = mayStop() == nil
	if err := c.thread.do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		err := c.settle(cmd.Process.Pid, attr)
		if err == nil && attr.Ptrace {
			err = letGo(cmd.Process.Pid)
		}
		if err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		return nil
	}); err != nil {
		return err //nolint:wrapcheck // names the program
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = cmd.Process
	return nil
}

// Kill ends the guest, where it was started, with all its descendants.
func (c *Cell) Kill() {
	c.mu.Lock()
	first := c.first
	c.mu.Unlock()
	if first != nil {
		_ = first.Kill() // it may have ended
	}
}

// settle puts a process into its group and sets its limits.
func (c *Cell) settle(pid int, attr *syscall.SysProcAttr) error {
	if attr.Ptrace {
		if err := awaitStop(pid); err != nil {
			return err
		}
		// On an old kernel without a mount(8) it finds itself by /proc/self alone; it is no less
		// confined.
		_ = c.ownProc(pid)
	}
	if c.mover != nil {
		if err := c.mover(pid); err != nil {
			return err
		}
	}
	// All of these are for the machine's sake, and not there in every container.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(oomScore), 0)
	limit := func(resource int, n uint64) { _ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil) }
	limit(unix.RLIMIT_CORE, 0)
	if slices.Contains(c.report.Measures, FileLimits) {
		limit(unix.RLIMIT_NOFILE, openFiles)
	}
	if n := c.guest.Limits.DiskBytes; n > 0 && !c.guest.writes() {
		limit(unix.RLIMIT_FSIZE, uint64(n))
	}
	if n := c.guest.Limits.Processes; n > 0 && c.group == nil && attr.Credential != nil {
		limit(unix.RLIMIT_NPROC, uint64(n))
	}
	return nil
}

// mayStop says why processes can't be started stopped, nil where they can.
func mayStop() error {
	if b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && strings.TrimSpace(string(b)) == "3" {
		return errors.New("processes can't be started stopped, as kernel.yama.ptrace_scope is 3")
	}
	return nil
}

// mayLimit says why the limits of a process of a user can't be set, nil where they can.
func mayLimit(user uint32) error {
	if user == uint32(os.Geteuid()) {
		return nil
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		return errors.New("the host lacks CAP_SYS_RESOURCE")
	}
	return nil
}

// awaitStop waits until a process that was started stopped is, letGo lets it run. Both are for
// the thread that has started it.
func awaitStop(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, unix.WALL, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the stopped guest: %w", err)
		}
	}
}

func letGo(pid int) error {
	if err := unix.PtraceDetach(pid); err != nil {
		return fmt.Errorf("let the guest go: %w", err)
	}
	return nil
}

// Limits of the guest.
func (c *Cell) Limits() Limits { return c.guest.Limits }

// Report says how the guest is confined.
func (c *Cell) Report() Report { return c.report }

// Usage is what the guest takes now, or took at last where it has ended. ok is false where
// there is no group that counts.
func (c *Cell) Usage() (u Usage, ok bool) {
	if c.group == nil {
		return u, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.last, true
	}
	u, err := c.group.usage()
	return u, err == nil
}

// Close ends the guest with all its descendants and removes what was made for it.
func (c *Cell) Close() {
	c.closing.Do(func() {
		if c.thread != nil {
			c.thread.end()
		}
		if c.group == nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, _ = c.group.usage()
		c.closed = true
		_ = c.group.close() // what is left the next host removes
	})
}
