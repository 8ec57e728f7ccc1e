package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// specOpts builds a container's OCI specification.
func (d *Driver) specOpts(s *sandbox, id string, cfg driver.ContainerConfig, image containerd.Image) []oci.SpecOpts {
	sb := s.record.Config
	opts := []oci.SpecOpts{
		oci.WithDefaultSpec(),
		oci.WithDefaultUnixDevices,
		oci.WithoutRunMount,
		processOpts(cfg, image),
		oci.WithCgroup(filepath.Join(sb.CgroupParent, id)),
		namespaceOpts(d, s),
		mountOpts(s, cfg),
		securityOpts(cfg.Security),
		resourceOpts(cfg.Resources, d.oomMin),
	}
	for _, dev := range cfg.Devices {
		opts = append(opts, oci.WithDevices(dev.HostPath, dev.ContainerPath, dev.Permissions))
	}
	if len(sb.Sysctls) > 0 {
		opts = append(opts, func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
			spec.Linux.Sysctl = sb.Sysctls
			return nil
		})
	}
	return opts
}

// processOpts sets the command, environment, directory and user.
func processOpts(cfg driver.ContainerConfig, image containerd.Image) oci.SpecOpts {
	return func(ctx context.Context, c oci.Client, ctr *containers.Container, s *oci.Spec) error {
		// Command replaces the image's entrypoint and its command, Args only the command.
		args := cfg.Args
		if len(cfg.Command) > 0 {
			args = append(append([]string{}, cfg.Command...), cfg.Args...)
		}
		// Limits on open files come from the shim, as with any other runtime.
		s.Process.Rlimits = nil
		if err := oci.WithImageConfigArgs(image, args)(ctx, c, ctr, s); err != nil {
			return err
		}
		if len(cfg.Command) > 0 {
			s.Process.Args = args
		}
		if len(s.Process.Args) == 0 {
			return errors.New("neither the pod nor the image names a command to run")
		}
		if err := oci.WithEnv(cfg.Env)(ctx, c, ctr, s); err != nil {
			return err
		}
		if cfg.WorkingDir != "" {
			s.Process.Cwd = cfg.WorkingDir
		}
		if cfg.TTY {
			if err := oci.WithTTY(ctx, c, ctr, s); err != nil {
				return err
			}
		}
		return setUser(ctx, c, ctr, s, cfg.Security)
	}
}

func setUser(ctx context.Context, c oci.Client, ctr *containers.Container, s *oci.Spec, sec driver.Security) error {
	if sec.RunAsUser != nil {
		uid := uint32(*sec.RunAsUser)
		if sec.RunAsGroup != nil {
			s.Process.User = specs.User{UID: uid, GID: uint32(*sec.RunAsGroup)}
		} else {
			if err := oci.WithUserID(uid)(ctx, c, ctr, s); err != nil {
				return err
			}
			if err := oci.WithAdditionalGIDs(strconv.FormatUint(uint64(uid), 10))(ctx, c, ctr, s); err != nil {
				return err
			}
		}
	} else if sec.RunAsGroup != nil {
		s.Process.User.GID = uint32(*sec.RunAsGroup)
	}
	if sec.RunAsNonRoot && s.Process.User.UID == 0 {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	for _, g := range sec.SupplementalGroups {
		s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, uint32(g))
	}
	return nil
}

// namespaceOpts joins the container to its sandbox.
func namespaceOpts(d *Driver, s *sandbox) oci.SpecOpts {
	return func(ctx context.Context, c oci.Client, ctr *containers.Container, spec *oci.Spec) error {
		sb := s.record.Config
		types := map[string]specs.LinuxNamespaceType{"net": specs.NetworkNamespace, "ipc": specs.IPCNamespace, "uts": specs.UTSNamespace}
		own := map[string]bool{}
		for _, k := range s.kinds() {
			own[k] = true
		}
		for k, t := range types {
			opt := oci.WithHostNamespace(t)
			if own[k] {
				opt = oci.WithLinuxNamespace(specs.LinuxNamespace{Type: t, Path: s.ns(k)})
			}
			if err := opt(ctx, c, ctr, spec); err != nil {
				return err
			}
		}
		switch {
		case sb.HostPID:
			return oci.WithHostNamespace(specs.PIDNamespace)(ctx, c, ctr, spec)
		case sb.SharePID && s.record.PauseID != "":
			pid, err := d.pausePID(ctx, s.record.PauseID)
			if err != nil {
				return err
			}
			return oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", pid)})(ctx, c, ctr, spec)
		}
		return nil
	}
}

// mountOpts adds the volumes and the files that the sandbox owns.
func mountOpts(s *sandbox, cfg driver.ContainerConfig) oci.SpecOpts {
	return func(ctx context.Context, c oci.Client, ctr *containers.Container, spec *oci.Spec) error {
		var mounts []specs.Mount
		mounts = append(mounts, specs.Mount{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"ro", "nosuid", "noexec", "nodev", "relatime"},
		})
		shm := "/dev/shm"
		if !s.record.Config.HostIPC {
			shm = s.shm()
		}
		mounts = append(mounts, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: shm, Options: []string{"rbind", "rw"}})
		taken := map[string]bool{"/dev/shm": true}
		propagation := ""
		for _, m := range cfg.Mounts {
			o := []string{"rbind"}
			mode := m.Propagation
			if mode == "" {
				mode = "rprivate"
			} else if propagation != "rshared" && (mode == "rshared" || mode == "rslave") {
				propagation = mode
			}
			o = append(o, mode)
			switch {
			case m.ReadOnly && m.RecursiveReadOnly:
				o = append(o, "rro")
			case m.ReadOnly:
				o = append(o, "ro")
			default:
				o = append(o, "rw")
			}
			taken[filepath.Clean(m.ContainerPath)] = true
			mounts = append(mounts, specs.Mount{Destination: m.ContainerPath, Type: "bind", Source: m.HostPath, Options: o})
		}
		// What the pod mounts replaces a default mount at the same place.
		var keep []specs.Mount
		for _, m := range spec.Mounts {
			if !taken[m.Destination] {
				keep = append(keep, m)
			}
		}
		// A volume's mount over an earlier one of ours wins as well: keep the last.
		last := map[string]int{}
		for i, m := range mounts {
			last[filepath.Clean(m.Destination)] = i
		}
		for i, m := range mounts {
			if last[filepath.Clean(m.Destination)] == i {
				keep = append(keep, m)
			}
		}
		spec.Mounts = keep
		if propagation != "" {
			spec.Linux.RootfsPropagation = propagation
		}
		return nil
	}
}

// securityOpts confines the process.
func securityOpts(sec driver.Security) oci.SpecOpts {
	return func(ctx context.Context, c oci.Client, ctr *containers.Container, s *oci.Spec) error {
		var opts []oci.SpecOpts
		add := func(o ...oci.SpecOpts) { opts = append(opts, o...) }
		if sec.Privileged {
			add(oci.WithAllCurrentCapabilities, oci.WithMaskedPaths(nil), oci.WithReadonlyPaths(nil),
				oci.WithWriteableSysfs, oci.WithWriteableCgroupfs, oci.WithHostDevices, oci.WithAllDevicesAllowed,
				oci.WithSeccompUnconfined, oci.WithNewPrivileges)
		} else {
			capOpts, err := capabilityOpts(sec)
			if err != nil {
				return err
			}
			add(capOpts...)
			if sec.AllowPrivilegeEscalation {
				add(oci.WithNewPrivileges)
			} else {
				add(oci.WithNoNewPrivileges)
			}
			if sec.UnmaskedProc {
				add(oci.WithMaskedPaths(nil), oci.WithReadonlyPaths(nil))
			}
			// After the capabilities: the default profile depends on them.
			switch {
			case sec.Seccomp == "" || sec.Seccomp == "Unconfined":
				add(oci.WithSeccompUnconfined)
			case sec.Seccomp == "RuntimeDefault":
				add(seccomp.WithDefaultProfile())
			case strings.HasPrefix(sec.Seccomp, "Localhost/"):
				add(seccomp.WithProfile(strings.TrimPrefix(sec.Seccomp, "Localhost")))
			default:
				return fmt.Errorf("unknown seccomp profile %q", sec.Seccomp)
			}
		}
		if sec.ReadOnlyRootFS {
			add(oci.WithRootFSReadonly())
		}
		return oci.ApplyOpts(ctx, c, ctr, s, opts...)
	}
}

func capabilityOpts(sec driver.Security) ([]oci.SpecOpts, error) {
	var opts []oci.SpecOpts
	names := func(in []string) (out []string, all bool) {
		for _, n := range in {
			if n = strings.ToUpper(n); n == "ALL" {
				all = true
			} else {
				out = append(out, "CAP_"+strings.TrimPrefix(n, "CAP_"))
			}
		}
		return out, all
	}
	add, addAll := names(sec.AddCaps)
	drop, dropAll := names(sec.DropCaps)
	if dropAll {
		opts = append(opts, oci.WithCapabilities(nil))
	}
	if addAll {
		current, err := cap.Current()
		if err != nil {
			return nil, fmt.Errorf("read own capabilities: %w", err)
		}
		opts = append(opts, oci.WithCapabilities(current))
	}
	return append(opts, oci.WithAddedCapabilities(add), oci.WithDroppedCapabilities(drop)), nil
}

// resourceOpts sets the limits.
func resourceOpts(r driver.Resources, oomMin int) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		limits := cgroup.Limits{
			CPUShares: r.CPUShares, CPUQuota: r.CPUQuota, CPUPeriod: r.CPUPeriod, MemoryBytes: r.MemoryBytes, Pids: r.PidsLimit,
		}.Spec()
		res := s.Linux.Resources
		res.CPU, res.Memory, res.Pids = cmp.Or(limits.CPU, res.CPU), cmp.Or(limits.Memory, res.Memory), cmp.Or(limits.Pids, res.Pids)
		adj := max(r.OOMScoreAdj, oomMin)
		s.Process.OOMScoreAdj = &adj
		return nil
	}
}

// oomFloor is the lowest oom_score_adj that this process's descendants may take: without
// CAP_SYS_RESOURCE the kernel lets nobody go below where they are, and runc dies trying.
func oomFloor() int {
	caps, err := cap.Current()
	if err == nil {
		for _, c := range caps {
			if c == "CAP_SYS_RESOURCE" {
				return math.MinInt
			}
		}
	}
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	// The shim runs one above containerd.
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n + 1
}
