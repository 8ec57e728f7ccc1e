package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/typeurl/v2"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// ContainerStats implements driver.StatsReader.
func (d *Driver) ContainerStats(ctx context.Context, id string) (driver.Stats, error) {
	c, err := d.container(id)
	if err != nil {
		return driver.Stats{}, err
	}
	c.mu.Lock()
	task := c.task
	c.mu.Unlock()
	if task == nil {
		return driver.Stats{}, fmt.Errorf("container %s: it is not running: %w", c.record.Name, driver.ErrNotFound)
	}
	m, err := task.Metrics(d.in(ctx))
	if err != nil {
		return driver.Stats{}, fmt.Errorf("measure container %s: %w", c.record.Name, err)
	}
	out := driver.Stats{At: time.Now()}
	if m.Timestamp != nil {
		out.At = m.Timestamp.AsTime()
	}
	// The messages' names changed with containerd 2; the bytes did not.
	switch {
	case cgroup.V2():
		var s v2.Metrics
		if err := typeurl.UnmarshalTo(m.Data, &s); err != nil {
			return driver.Stats{}, fmt.Errorf("measure container %s: %w", c.record.Name, err)
		}
		out.CPUNanos = s.GetCPU().GetUsageUsec() * 1000
		mem := s.GetMemory()
		out.MemoryUsage, out.MemoryLimit = mem.GetUsage(), mem.GetUsageLimit()
		out.MemoryWorking = less(mem.GetUsage(), mem.GetInactiveFile())
		out.PageFaults, out.MajorPageFaults = mem.GetPgfault(), mem.GetPgmajfault()
		out.Pids = s.GetPids().GetCurrent()
	default:
		var s v1.Metrics
		if err := typeurl.UnmarshalTo(m.Data, &s); err != nil {
			return driver.Stats{}, fmt.Errorf("measure container %s: %w", c.record.Name, err)
		}
		out.CPUNanos = s.GetCPU().GetUsage().GetTotal()
		mem := s.GetMemory()
		out.MemoryUsage, out.MemoryLimit = mem.GetUsage().GetUsage(), mem.GetUsage().GetLimit()
		out.MemoryWorking = less(mem.GetUsage().GetUsage(), mem.GetTotalInactiveFile())
		out.PageFaults, out.MajorPageFaults = mem.GetPgFault(), mem.GetPgMajFault()
		out.Pids = s.GetPids().GetCurrent()
	}
	if u, err := d.client.SnapshotService(d.cfg.Snapshotter).Usage(d.in(ctx), id); err == nil {
		out.WritableBytes, out.WritableInodes = uint64(u.Size), uint64(u.Inodes)
	}
	return out, nil
}

func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// oomKilled reports whether the kernel killed a process of a control group for want of
// memory. It is asked before the group goes.
func oomKilled(path string) bool {
	if path == "" {
		return false
	}
	file := filepath.Join(cgroup.Mount, "memory", path, "memory.oom_control")
	if cgroup.V2() {
		file = filepath.Join(cgroup.Mount, path, "memory.events")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	f := strings.Fields(string(b))
	for i := 0; i+1 < len(f); i += 2 {
		if f[i] == "oom_kill" {
			n, _ := strconv.Atoi(f[i+1])
			return n > 0
		}
	}
	return false
}
