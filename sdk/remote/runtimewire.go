package remote

import (
	"time"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// timeFromWire converts a time; 0 is none.
func timeFromWire(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func sandboxConfigToWire(c runtimedriver.SandboxConfig) *pluginv1.RunSandboxRequest {
	return &pluginv1.RunSandboxRequest{
		Id: c.ID, Namespace: c.Namespace, Name: c.Name, Uid: c.UID, Attempt: int32(c.Attempt), //nolint:gosec // attempts are few
		Hostname: c.Hostname, HostNetwork: c.HostNetwork, HostPid: c.HostPID, HostIpc: c.HostIPC, SharePid: c.SharePID,
		CgroupParent: c.CgroupParent, LogDir: c.LogDir, Sysctls: c.Sysctls, Labels: c.Labels,
	}
}

func sandboxFromWire(s *pluginv1.RuntimeSandbox) runtimedriver.Sandbox {
	return runtimedriver.Sandbox{
		ID: s.GetId(), Namespace: s.GetNamespace(), Name: s.GetName(), UID: s.GetUid(), Attempt: int(s.GetAttempt()),
		Ready: s.GetReady(), NetNS: s.GetNetns(), IPs: s.GetIps(), CreatedAt: timeFromWire(s.GetCreatedAt()), Labels: s.GetLabels(),
	}
}

func containerConfigToWire(sandboxID string, c runtimedriver.ContainerConfig) *pluginv1.CreateContainerRequest {
	s, l := c.Security, c.Resources
	r := &pluginv1.CreateContainerRequest{
		SandboxId: sandboxID, Name: c.Name, Attempt: int32(c.Attempt), //nolint:gosec // attempts are few
		Image: c.Image, Command: c.Command, Args: c.Args, Env: c.Env, WorkingDir: c.WorkingDir,
		Tty: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce, StopSignal: c.StopSignal, LogPath: c.LogPath, Labels: c.Labels,
		Resources: &pluginv1.RuntimeResources{
			CpuShares: l.CPUShares, CpuQuota: l.CPUQuota, CpuPeriod: l.CPUPeriod,
			MemoryBytes: l.MemoryBytes, PidsLimit: l.PidsLimit, OomScoreAdj: int32(l.OOMScoreAdj), //nolint:gosec // at most 1000
		},
		Security: &pluginv1.RuntimeSecurity{
			Privileged: s.Privileged, ReadOnlyRootFs: s.ReadOnlyRootFS, AllowPrivilegeEscalation: s.AllowPrivilegeEscalation,
			AddCaps: s.AddCaps, DropCaps: s.DropCaps, RunAsUser: s.RunAsUser, RunAsGroup: s.RunAsGroup,
			RunAsNonRoot: s.RunAsNonRoot, SupplementalGroups: s.SupplementalGroups, Seccomp: s.Seccomp, UnmaskedProc: s.UnmaskedProc,
		},
	}
	for _, m := range c.Mounts {
		r.Mounts = append(r.Mounts, &pluginv1.RuntimeMount{
			HostPath: m.HostPath, ContainerPath: m.ContainerPath, ReadOnly: m.ReadOnly,
			Propagation: m.Propagation, RecursiveReadOnly: m.RecursiveReadOnly,
		})
	}
	for _, d := range c.Devices {
		r.Devices = append(r.Devices, &pluginv1.RuntimeDevice{HostPath: d.HostPath, ContainerPath: d.ContainerPath, Permissions: d.Permissions})
	}
	return r
}

func containerFromWire(c *pluginv1.RuntimeContainer) runtimedriver.Container {
	return runtimedriver.Container{
		ID: c.GetId(), Name: c.GetName(), SandboxID: c.GetSandboxId(), PodUID: c.GetPodUid(), Attempt: int(c.GetAttempt()),
		State: runtimedriver.ContainerState(c.GetState()), Image: c.GetImage(), ImageID: c.GetImageId(),
		CreatedAt: timeFromWire(c.GetCreatedAt()), StartedAt: timeFromWire(c.GetStartedAt()), FinishedAt: timeFromWire(c.GetFinishedAt()),
		ExitCode: c.GetExitCode(), OOMKilled: c.GetOomKilled(), Error: c.GetError(), LogPath: c.GetLogPath(),
		PID: int(c.GetPid()), Labels: c.GetLabels(),
	}
}

func imageFromWire(i *pluginv1.RuntimeImage) runtimedriver.Image {
	return runtimedriver.Image{
		ID: i.GetId(), RepoTags: i.GetRepoTags(), RepoDigests: i.GetRepoDigests(), SizeBytes: i.GetSizeBytes(),
		User: i.GetUser(), Pinned: i.GetPinned(), LastUsed: timeFromWire(i.GetLastUsed()),
	}
}

func eventFromWire(e *pluginv1.RuntimeEvent) runtimedriver.Event {
	return runtimedriver.Event{
		Type: runtimedriver.EventType(e.GetType()), ContainerID: e.GetContainerId(), ExitCode: e.GetExitCode(), At: timeFromWire(e.GetAt()),
	}
}
