package runtimedriver

import (
	"time"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// timeToWire converts a time; none is 0.
func timeToWire(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func sandboxConfigFromWire(r *pluginv1.RunSandboxRequest) SandboxConfig {
	return SandboxConfig{
		ID: r.GetId(), Namespace: r.GetNamespace(), Name: r.GetName(), UID: r.GetUid(), Attempt: int(r.GetAttempt()),
		Hostname: r.GetHostname(), HostNetwork: r.GetHostNetwork(), HostPID: r.GetHostPid(), HostIPC: r.GetHostIpc(),
		SharePID: r.GetSharePid(), CgroupParent: r.GetCgroupParent(), LogDir: r.GetLogDir(), Sysctls: r.GetSysctls(), Labels: r.GetLabels(),
	}
}

func sandboxToWire(s Sandbox) *pluginv1.RuntimeSandbox {
	return &pluginv1.RuntimeSandbox{
		Id: s.ID, Namespace: s.Namespace, Name: s.Name, Uid: s.UID, Attempt: int32(s.Attempt), //nolint:gosec // attempts are few
		Ready: s.Ready, Netns: s.NetNS, Ips: s.IPs, CreatedAt: timeToWire(s.CreatedAt), Labels: s.Labels,
	}
}

func containerConfigFromWire(r *pluginv1.CreateContainerRequest) ContainerConfig {
	cfg := ContainerConfig{
		Name: r.GetName(), Attempt: int(r.GetAttempt()), Image: r.GetImage(), Command: r.GetCommand(), Args: r.GetArgs(),
		Env: r.GetEnv(), WorkingDir: r.GetWorkingDir(), TTY: r.GetTty(), Stdin: r.GetStdin(), StdinOnce: r.GetStdinOnce(),
		StopSignal: r.GetStopSignal(), LogPath: r.GetLogPath(), Labels: r.GetLabels(),
	}
	for _, m := range r.GetMounts() {
		cfg.Mounts = append(cfg.Mounts, Mount{
			HostPath: m.GetHostPath(), ContainerPath: m.GetContainerPath(), ReadOnly: m.GetReadOnly(),
			Propagation: m.GetPropagation(), RecursiveReadOnly: m.GetRecursiveReadOnly(),
		})
	}
	for _, d := range r.GetDevices() {
		cfg.Devices = append(cfg.Devices, Device{HostPath: d.GetHostPath(), ContainerPath: d.GetContainerPath(), Permissions: d.GetPermissions()})
	}
	l := r.GetResources()
	cfg.Resources = Resources{
		CPUShares: l.GetCpuShares(), CPUQuota: l.GetCpuQuota(), CPUPeriod: l.GetCpuPeriod(),
		MemoryBytes: l.GetMemoryBytes(), PidsLimit: l.GetPidsLimit(), OOMScoreAdj: int(l.GetOomScoreAdj()),
	}
	if s := r.GetSecurity(); s != nil {
		cfg.Security = Security{
			Privileged: s.GetPrivileged(), ReadOnlyRootFS: s.GetReadOnlyRootFs(), AllowPrivilegeEscalation: s.GetAllowPrivilegeEscalation(),
			AddCaps: s.GetAddCaps(), DropCaps: s.GetDropCaps(), RunAsUser: s.RunAsUser, RunAsGroup: s.RunAsGroup,
			RunAsNonRoot: s.GetRunAsNonRoot(), SupplementalGroups: s.GetSupplementalGroups(), Seccomp: s.GetSeccomp(), UnmaskedProc: s.GetUnmaskedProc(),
		}
	}
	return cfg
}

func containerToWire(c Container) *pluginv1.RuntimeContainer {
	return &pluginv1.RuntimeContainer{
		Id: c.ID, Name: c.Name, SandboxId: c.SandboxID, PodUid: c.PodUID, Attempt: int32(c.Attempt), //nolint:gosec // attempts are few
		State: string(c.State), Image: c.Image, ImageId: c.ImageID,
		CreatedAt: timeToWire(c.CreatedAt), StartedAt: timeToWire(c.StartedAt), FinishedAt: timeToWire(c.FinishedAt),
		ExitCode: c.ExitCode, OomKilled: c.OOMKilled, Error: c.Error, LogPath: c.LogPath, Pid: int64(c.PID), Labels: c.Labels,
	}
}

func imageToWire(i Image) *pluginv1.RuntimeImage {
	return &pluginv1.RuntimeImage{
		Id: i.ID, RepoTags: i.RepoTags, RepoDigests: i.RepoDigests, SizeBytes: i.SizeBytes,
		User: i.User, Pinned: i.Pinned, LastUsed: timeToWire(i.LastUsed),
	}
}

func eventToWire(e Event) *pluginv1.RuntimeEvent {
	return &pluginv1.RuntimeEvent{Type: string(e.Type), ContainerId: e.ContainerID, ExitCode: e.ExitCode, At: timeToWire(e.At)}
}
