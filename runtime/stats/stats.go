package stats

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Pod is a pod to measure.
type Pod struct {
	Namespace, Name, UID string
	StartTime            time.Time
	// Containers that run.
	Containers []driver.Container
}

// Summary measures the node and its pods. Containers that end meanwhile are left out, and all where
// src is nil.
func Summary(ctx context.Context, node, dir string, src driver.StatsReader, pods []Pod) (*statsapi.Summary, error) {
	now := metav1.Now()
	out := &statsapi.Summary{Node: statsapi.NodeStats{NodeName: node}, Pods: []statsapi.PodStats{}}
	for _, p := range pods {
		ps := statsapi.PodStats{
			PodRef: statsapi.PodReference{Namespace: p.Namespace, Name: p.Name, UID: p.UID}, StartTime: metav1.NewTime(p.StartTime),
			Containers: []statsapi.ContainerStats{},
		}
		var cpu, usage, working uint64
		for _, c := range p.Containers {
			if src == nil {
				break
			}
			s, err := src.ContainerStats(ctx, c.ID)
			if err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				continue
			}
			at := metav1.NewTime(s.At)
			cs := statsapi.ContainerStats{
				Name: c.Name, StartTime: metav1.NewTime(c.StartedAt),
				CPU:    &statsapi.CPUStats{Time: at, UsageCoreNanoSeconds: &s.CPUNanos},
				Memory: &statsapi.MemoryStats{Time: at, UsageBytes: &s.MemoryUsage, WorkingSetBytes: &s.MemoryWorking, PageFaults: &s.PageFaults, MajorPageFaults: &s.MajorPageFaults},
				Rootfs: &statsapi.FsStats{Time: at, UsedBytes: &s.WritableBytes, InodesUsed: &s.WritableInodes},
			}
			cpu, usage, working = cpu+s.CPUNanos, usage+s.MemoryUsage, working+s.MemoryWorking
			ps.Containers = append(ps.Containers, cs)
		}
		ps.CPU = &statsapi.CPUStats{Time: now, UsageCoreNanoSeconds: &cpu}
		ps.Memory = &statsapi.MemoryStats{Time: now, UsageBytes: &usage, WorkingSetBytes: &working}
		out.Pods = append(out.Pods, ps)
	}
	nodeCPU := hostCPU()
	out.Node.CPU = &statsapi.CPUStats{Time: now, UsageCoreNanoSeconds: &nodeCPU}
	total, avail := meminfo("MemTotal"), meminfo("MemAvailable")
	used := total - min(avail, total)
	out.Node.Memory = &statsapi.MemoryStats{Time: now, AvailableBytes: &avail, UsageBytes: &used, WorkingSetBytes: &used}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		size, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
		took := size - st.Bfree*uint64(st.Bsize)
		out.Node.Fs = &statsapi.FsStats{Time: now, CapacityBytes: &size, AvailableBytes: &free, UsedBytes: &took}
	}
	return out, nil
}

// hostCPU is the time that all processors have worked, in nanoseconds.
func hostCPU() uint64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var ticks uint64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 { // the name, idle, waiting for disks
			continue
		}
		if i > 8 { // guests are in user time already
			break
		}
		n, _ := strconv.ParseUint(f, 10, 64)
		ticks += n
	}
	return ticks * uint64(time.Second/100)
}

func meminfo(field string) uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseUint(f[0], 10, 64)
				return n * 1024
			}
		}
	}
	return 0
}
