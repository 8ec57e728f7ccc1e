package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	cgroupMount = "/sys/fs/cgroup"
	// Periods of limits of the CPU, in microseconds: a short one, as a guest that may have
	// half of the cores could else have all of them for half of a long one; the long one for
	// limits that are too small for it.
	shortPeriod, longPeriod = 10_000, 100_000
	leastQuota              = 1000
	// cpuShares of a guest: what a process of the host's has is 1024, so that where all
	// want the CPU the host comes first.
	cpuShares = 128
	// removalPatience is how long killed processes may take to leave their group.
	removalPatience = 2 * time.Second
)

// Usage is what a guest and its descendants take.
type Usage struct {
	// MemoryBytes in use, without the page cache that can be had back at once.
	MemoryBytes int64
	// CPU time since its start.
	CPU time.Duration
	// Processes counts threads as well.
	Processes int64
	// OOMKills counts processes that were killed for their group's memory limit.
	OOMKills uint64
}

// group is the cgroup of one guest.
type group interface {
	// join puts a thread into the group, which what it forks inherits. Where threads can't be
	// moved alone it returns what moves a process.
	join(tid int) (mover func(pid int) error, err error)
	// processes are those in the group.
	processes() []int
	usage() (Usage, error)
	close() error
}

// newGroup makes a group with limits.
func newGroup(name string, l Limits) (group, error) {
	if cgroups.Mode() == cgroups.Unified {
		return newGroup2(cgroupMount, name, l)
	}
	return newGroup1(name, l)
}

// group1 is a group in the hierarchies of version 1.
type group1 struct {
	name   string
	cgroup cgroup1.Cgroup
}

func newGroup1(name string, l Limits) (*group1, error) {
	c, err := cgroup1.New(cgroup1.StaticPath(name), l.resources(), cgroup1.WithHierarchy(hierarchies))
	if err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", name, errors.Join(err, removeGroups(name)))
	}
	return &group1{name: name, cgroup: c}, nil
}

// hierarchies are those that limit or count.
func hierarchies() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, fmt.Errorf("cgroup hierarchies: %w", err)
	}
	var out []cgroup1.Subsystem
	for _, s := range all {
		switch s.Name() {
		case cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Memory, cgroup1.Pids:
			out = append(out, s)
		default:
		}
	}
	return out, nil
}

func (g *group1) join(tid int) (func(int) error, error) {
	if err := g.cgroup.AddTask(cgroup1.Process{Pid: tid}); err != nil {
		return nil, fmt.Errorf("join cgroup %s: %w", g.name, err)
	}
	return nil, nil
}

func (g *group1) processes() []int { return processesIn(filepath.Join(cgroupMount, "pids", g.name)) }

func (g *group1) usage() (Usage, error) {
	st, err := g.cgroup.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return Usage{}, fmt.Errorf("cgroup %s: %w", g.name, err)
	}
	var u Usage
	if m := st.GetMemory(); m != nil {
		u.MemoryBytes = int64(m.GetUsage().GetUsage()) - int64(m.GetTotalInactiveFile())
	}
	u.CPU = time.Duration(st.GetCPU().GetUsage().GetTotal())
	u.Processes = int64(st.GetPids().GetCurrent())
	u.OOMKills = st.GetMemoryOomControl().GetOomKill()
	return u, nil
}

func (g *group1) close() error { return removeGroups(g.name) }

// group2 is a group in the unified hierarchy.
type group2 struct {
	name    string
	manager *cgroup2.Manager
	dir     string
}

func newGroup2(mount, name string, l Limits) (*group2, error) {
	resources := cgroup2.ToResources(l.resources())
	m, err := cgroup2.NewManager(mount, name, resources)
	if errors.Is(err, fs.ErrNotExist) && resources.Memory != nil {
		resources.Memory.Swap = nil // the kernel does not count swap
		m, err = cgroup2.NewManager(mount, name, resources)
	}
	if err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", name, errors.Join(err, removeGroups(name)))
	}
	// All processes of a guest end together; a kernel without this kills one.
	dir := filepath.Join(mount, name)
	_ = os.WriteFile(filepath.Join(dir, "memory.oom.group"), []byte("1"), 0)
	return &group2{name: name, manager: m, dir: dir}, nil
}

// join implements group. To fork into a group takes clone3, whose flags no filter can read and
// which is refused to guests therefore.
func (g *group2) join(int) (func(int) error, error) {
	if err := mayStop(); err != nil {
		return nil, err // it could fork before it is moved
	}
	return func(pid int) error {
		err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil {
			return fmt.Errorf("join cgroup %s: %w", g.name, err)
		}
		return nil
	}, nil
}

func (g *group2) processes() []int { return processesIn(g.dir) }

func (g *group2) usage() (Usage, error) {
	st, err := g.manager.Stat()
	if err != nil {
		return Usage{}, fmt.Errorf("cgroup %s: %w", g.name, err)
	}
	return Usage{
		MemoryBytes: int64(st.GetMemory().GetUsage()) - int64(st.GetMemory().GetInactiveFile()),
		CPU:         time.Duration(st.GetCPU().GetUsageUsec()) * time.Microsecond,
		Processes:   int64(st.GetPids().GetCurrent()),
		OOMKills:    st.GetMemoryEvents().GetOomKill(),
	}, nil
}

func (g *group2) close() error { return removeTree(g.dir) }

// resources is how limits are written in an OCI specification. There is no swap beyond the
// memory.
func (l Limits) resources() *specs.LinuxResources {
	shares := uint64(cpuShares)
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}}
	if l.MilliCPU > 0 {
		period := uint64(shortPeriod)
		if l.MilliCPU*shortPeriod/1000 < leastQuota {
			period = longPeriod
		}
		quota := max(l.MilliCPU*int64(period)/1000, leastQuota)
		r.CPU.Quota, r.CPU.Period = &quota, &period
	}
	if l.MemoryBytes > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.MemoryBytes}
		if _, err := os.Stat(cgroupMount + "/memory/memory.memsw.limit_in_bytes"); err == nil || cgroups.Mode() == cgroups.Unified {
			r.Memory.Swap = &l.MemoryBytes
		}
	}
	if l.Processes > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.Processes}
	}
	return r
}

// removeGroups kills what is left in a group and all below it, and removes them in every
// hierarchy.
func removeGroups(name string) error {
	if strings.Trim(path.Clean(name), "/.") == "" {
		return errors.New("refusing to remove the root cgroup")
	}
	tops := []string{cgroupMount}
	if cgroups.Mode() != cgroups.Unified {
		tops, _ = filepath.Glob(cgroupMount + "/*")
	}
	var errs []error
	for _, top := range tops {
		dir := filepath.Join(top, name)
		if _, err := os.Lstat(dir); err == nil {
			errs = append(errs, removeTree(dir))
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	deadline := time.Now().Add(removalPatience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := removeOnce(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait) // killed processes leave when the kernel gets to them, and nothing tells
	}
}

func removeOnce(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		killAll(dirs[i])
		if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// killAll kills the processes of one group. Threads of the host's own that are in it are
// about to end.
func killAll(dir string) {
	// Where there is this, processes that fork can't escape it.
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	for _, pid := range processesIn(dir) {
		if pid > 1 && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// processesIn are the processes of one group, nothing where it is gone.
func processesIn(dir string) (pids []int) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
