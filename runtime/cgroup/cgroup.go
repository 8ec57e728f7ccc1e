package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Mount is where hosts mount the cgroup file systems.
const Mount = "/sys/fs/cgroup"

// V2 reports whether the host has the unified hierarchy only.
func V2() bool { return cgroups.Mode() == cgroups.Unified }

// Limits of one group. Zero means no limit.
type Limits struct {
	CPUShares   uint64
	CPUQuota    int64 // microseconds per CPUPeriod
	CPUPeriod   uint64
	MemoryBytes int64
	Pids        int64
}

// Spec is how the limits are written in an OCI specification.
func (l Limits) Spec() *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if l.CPUShares > 0 || l.CPUQuota > 0 {
		r.CPU = &specs.LinuxCPU{}
		if l.CPUShares > 0 {
			r.CPU.Shares = &l.CPUShares
		}
		if l.CPUQuota > 0 {
			r.CPU.Quota, r.CPU.Period = &l.CPUQuota, &l.CPUPeriod
		}
	}
	if l.MemoryBytes > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.MemoryBytes}
	}
	if l.Pids > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.Pids}
	}
	return r
}

// Ensure makes the group at path (below the mount points) with its parents and sets its
// limits. An existing group gets the limits.
func Ensure(path string, l Limits) error {
	if V2() {
		if _, err := cgroup2.NewManager(Mount, path, cgroup2.ToResources(l.Spec())); err != nil {
			return fmt.Errorf("make cgroup %s: %w", path, err)
		}
		return nil
	}
	if _, err := cgroup1.New(cgroup1.StaticPath(path), l.Spec(), cgroup1.WithHierarchy(hierarchy)); err != nil {
		return fmt.Errorf("make cgroup %s: %w", path, err)
	}
	return nil
}

// hierarchy is the v1 controllers that hold limits and numbers of pods. The others get
// their groups from the OCI runtime.
func hierarchy() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var out []cgroup1.Subsystem
	for _, s := range all {
		switch s.Name() {
		case cgroup1.Cpu, cgroup1.Memory, cgroup1.Pids:
			out = append(out, s)
		}
	}
	return out, nil
}

// Remove removes the group at path with all below it, in every hierarchy. Groups that
// still hold processes are an error after a short wait; a group that is not there is none.
func Remove(path string) error {
	if strings.Trim(path, "/") == "" {
		return errors.New("refusing to remove the root cgroup")
	}
	var errs []error
	for _, top := range tops() {
		errs = append(errs, removeTree(filepath.Join(top, path)))
	}
	return errors.Join(errs...)
}

// tops lists the mount points of all hierarchies.
func tops() []string {
	if V2() {
		return []string{Mount}
	}
	entries, err := os.ReadDir(Mount)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		// Names such as cpu,cpuacct are directories, cpu is a link to it.
		if e.IsDir() {
			out = append(out, filepath.Join(Mount, e.Name()))
		}
	}
	return out
}

func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		// A group is busy for a moment after its last process was reaped.
		for delay := time.Millisecond; ; delay *= 2 {
			err = os.Remove(dirs[i])
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if delay > 500*time.Millisecond {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(delay)
		}
	}
	return nil
}

// Procs lists the processes in the group at path and below, in the hierarchy that the
// OCI runtime uses to find them.
func Procs(path string) ([]int, error) {
	top := Mount
	if !V2() {
		top = filepath.Join(Mount, "devices")
		if _, err := os.Stat(top); err != nil {
			top = filepath.Join(Mount, "memory")
		}
	}
	var pids []int
	err := filepath.WalkDir(filepath.Join(top, path), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return nil //nolint:nilerr // gone by now, or threaded: then the group above lists its processes
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", path, err)
	}
	return pids, nil
}
