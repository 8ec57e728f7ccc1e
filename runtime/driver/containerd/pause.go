package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runPause starts the process that keeps a shared process namespace alive. It has no
// image: its root is an empty directory with the executable mounted in it.
func (d *Driver) runPause(ctx context.Context, s *sandbox) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("start the pause process: %w", err) }
	exe, err := filepath.EvalSymlinks(d.cfg.Pause[0])
	if err != nil {
		return fail(err)
	}
	root := filepath.Join(s.dir, "pause")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fail(err)
	}
	id := newID()
	// It keeps its name, which programs like busybox go by.
	pauseIn := "/" + filepath.Base(exe)
	args := append([]string{pauseIn}, d.cfg.Pause[1:]...)
	cc, err := d.client.NewContainer(ctx, id,
		containerd.WithRuntime(runtimeName, d.runtimeOptions()),
		containerd.WithContainerLabels(map[string]string{labelSandbox: s.record.Config.ID}),
		containerd.WithNewSpec(
			oci.WithDefaultSpec(), oci.WithoutRunMount, oci.WithRootFSPath(root),
			oci.WithProcessArgs(args...), oci.WithCapabilities(nil), oci.WithNoNewPrivileges,
			oci.WithCgroup(filepath.Join(s.record.Config.CgroupParent, id)),
			func(_ context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
				spec.Mounts = append(spec.Mounts, specs.Mount{Destination: pauseIn, Type: "bind", Source: exe, Options: []string{"bind", "ro"}})
				adj := max(-998, d.oomMin)
				spec.Process.OOMScoreAdj = &adj
				return nil
			},
			pauseNamespaces(d, s),
		))
	if err != nil {
		return fail(err)
	}
	task, err := cc.NewTask(ctx, cio.NullIO)
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		return fail(errors.Join(err, d.deleteContainerd(context.WithoutCancel(ctx), cc)))
	}
	return id, nil
}

// pauseNamespaces joins the sandbox but makes a process namespace of its own, which the
// containers join in turn.
func pauseNamespaces(d *Driver, s *sandbox) oci.SpecOpts {
	alone := &sandbox{record: s.record, dir: s.dir}
	alone.record.PauseID = ""
	return namespaceOpts(d, alone)
}

func (d *Driver) pausePID(ctx context.Context, id string) (uint32, error) {
	cc, err := d.client.LoadContainer(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("find the pause process: %w", err)
	}
	task, err := cc.Task(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("find the pause process: %w", err)
	}
	return task.Pid(), nil
}

func (d *Driver) removePause(ctx context.Context, id string) error {
	cc, err := d.client.LoadContainer(ctx, id)
	if err == nil {
		err = d.deleteContainerd(ctx, cc)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove the pause process: %w", err)
	}
	return nil
}

// isPause reports whether a containerd container is a sandbox's pause process.
func (d *Driver) isPause(id string) bool {
	for _, s := range d.sandboxes {
		if s.record.PauseID == id {
			return true
		}
	}
	return false
}
