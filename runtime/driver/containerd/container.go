package containerd

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

const (
	labelSandbox = "pintle.dev/sandbox"
	labelPod     = "pintle.dev/pod"
	labelName    = "pintle.dev/container"
	runtimeName  = "io.containerd.runc.v2"
)

// container is one container, running or ended.
type container struct {
	d   *Driver
	dir string
	io  *containerIO

	mu     sync.Mutex
	record containerRecord
	task   containerd.Task
	// done is closed when the container has ended and its end is on record.
	done chan struct{}
}

func (d *Driver) newContainer(dir string, r containerRecord) *container {
	c := &container{d: d, dir: dir, record: r, done: make(chan struct{})}
	c.io = newContainerIO(c)
	if r.Finished {
		close(c.done)
	}
	return c
}

func (c *container) status() driver.Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record
	out := driver.Container{
		ID: r.ID, Name: r.Name, SandboxID: r.SandboxID, PodUID: r.PodUID, Attempt: r.Attempt,
		Image: r.Image, ImageID: r.ImageID, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt,
		FinishedAt: r.FinishedAt, ExitCode: r.ExitCode, OOMKilled: r.OOMKilled, Error: r.Error,
		LogPath: r.LogPath, PID: r.PID, Labels: r.Labels, State: driver.ContainerCreated,
	}
	switch {
	case r.Finished:
		out.State = driver.ContainerExited
	case !r.StartedAt.IsZero():
		out.State = driver.ContainerRunning
	}
	return out
}

// newID makes a container id as people know them.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// CreateContainer implements driver.Containers.
func (d *Driver) CreateContainer(ctx context.Context, sandboxID string, cfg driver.ContainerConfig) (_ string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("create container %s: %w", cfg.Name, err)
		}
	}()
	ctx = d.in(ctx)
	s, err := d.sandbox(sandboxID)
	if err != nil {
		return "", err
	}
	image, info, err := d.findImage(ctx, cfg.Image)
	if err != nil {
		return "", err
	}
	id := newID()
	c := d.newContainer(filepath.Join(d.cfg.Dir, "containers", id), containerRecord{
		ID: id, SandboxID: sandboxID, PodUID: s.record.Config.UID, Name: cfg.Name, Attempt: cfg.Attempt,
		Image: cfg.Image, ImageID: info.ID, Labels: cfg.Labels, LogPath: cfg.LogPath,
		TTY: cfg.TTY, Stdin: cfg.Stdin, StdinOnce: cfg.StdinOnce,
		StopSignal: cmp.Or(cfg.StopSignal, info.stopSignal), CreatedAt: time.Now(),
		KillAll: s.record.Config.HostPID || s.record.Config.SharePID,
	})
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return "", err
	}
	undo := []func(){func() {
		if rerr := removeStateDir(c.dir); rerr != nil {
			d.log.Warn("cannot remove a failed container's state", "container", id, "err", rerr)
		}
	}}
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	if err := c.io.open(d.base, d.logConfig()); err != nil {
		return "", err
	}
	undo = append(undo, c.io.release)

	cc, err := d.newContainerd(ctx, s, c, cfg, image)
	if err != nil {
		return "", err
	}
	cleanup := context.WithoutCancel(ctx)
	undo = append(undo, func() {
		if derr := d.deleteContainerd(cleanup, cc); derr != nil {
			d.log.Warn("cannot remove a failed container", "container", id, "err", derr)
		}
	})
	task, err := cc.NewTask(ctx, c.io.creator)
	if err != nil && ctx.Err() != nil {
		return "", err
	}
	if err != nil {
		return id, d.keepUnstartable(cleanup, c, cc, err)
	}
	c.record.PID = int(task.Pid())
	if err := writeRecord(c.dir, c.record); err != nil {
		return "", err
	}
	d.mu.Lock()
	d.containers[id] = c
	d.mu.Unlock()
	d.watchTask(c, task)
	return id, nil
}

// keepUnstartable puts a container on record whose process could not be made.
func (d *Driver) keepUnstartable(ctx context.Context, c *container, cc containerd.Container, cause error) error {
	if err := d.deleteContainerd(ctx, cc); err != nil {
		d.log.Warn("cannot remove a failed container", "container", c.record.ID, "err", err)
	}
	c.io.release()
	c.record.Finished, c.record.FinishedAt, c.record.ExitCode, c.record.Error = true, time.Now(), 128, cause.Error()
	close(c.done)
	if err := writeRecord(c.dir, c.record); err != nil {
		return err
	}
	d.mu.Lock()
	d.containers[c.record.ID] = c
	d.mu.Unlock()
	return nil
}

// newContainerd makes the container's metadata, snapshot and specification.
func (d *Driver) newContainerd(ctx context.Context, s *sandbox, c *container, cfg driver.ContainerConfig, image containerd.Image) (containerd.Container, error) {
	opts := []containerd.NewContainerOpts{
		containerd.WithImageName(image.Name()),
		containerd.WithSnapshotter(d.cfg.Snapshotter),
		containerd.WithNewSnapshot(c.record.ID, image),
		containerd.WithRuntime(runtimeName, d.runtimeOptions()),
		containerd.WithContainerLabels(map[string]string{
			labelSandbox: s.record.Config.ID, labelPod: s.record.Config.UID, labelName: cfg.Name,
		}),
		containerd.WithNewSpec(d.specOpts(s, c.record.ID, cfg, image)...),
	}
	cc, err := d.client.NewContainer(ctx, c.record.ID, opts...)
	if err == nil {
		return cc, nil
	}
	d.dropSnapshot(ctx, c.record.ID)
	if !errdefs.IsNotFound(err) {
		return nil, err
	}
	// The layers are not unpacked, as after an import that was cut off.
	if uerr := image.Unpack(ctx, d.cfg.Snapshotter); uerr != nil {
		return nil, errors.Join(err, uerr)
	}
	cc, err = d.client.NewContainer(ctx, c.record.ID, opts...)
	if err != nil {
		d.dropSnapshot(ctx, c.record.ID)
	}
	return cc, err
}

// dropSnapshot removes what a container that could not be made may have left.
func (d *Driver) dropSnapshot(ctx context.Context, id string) {
	err := d.client.SnapshotService(d.cfg.Snapshotter).Remove(context.WithoutCancel(ctx), id)
	if err != nil && !errdefs.IsNotFound(err) {
		d.log.Warn("cannot remove a failed container's snapshot", "container", id, "err", err)
	}
}

func (d *Driver) runtimeOptions() *options.Options {
	return &options.Options{Root: d.cfg.RuncRoot}
}

// StartContainer implements driver.Containers.
func (d *Driver) StartContainer(ctx context.Context, id string) error {
	c, err := d.container(id)
	if err != nil {
		return err
	}
	c.mu.Lock()
	task, cause := c.task, c.record.Error
	c.mu.Unlock()
	switch {
	case cause != "":
		return fmt.Errorf("start container %s: %s", c.record.Name, cause)
	case task == nil:
		return fmt.Errorf("start container %s: it has ended", c.record.Name)
	}
	if err := task.Start(d.in(ctx)); err != nil {
		c.mu.Lock()
		c.record.Error = err.Error()
		c.mu.Unlock()
		// The shim reports no exit of what never ran.
		if kerr := task.Kill(d.in(context.WithoutCancel(ctx)), syscall.SIGKILL); kerr == nil {
			<-c.done
		}
		return fmt.Errorf("start container %s: %w", c.record.Name, err)
	}
	c.mu.Lock()
	c.record.StartedAt = time.Now()
	if c.record.Finished && c.record.FinishedAt.Before(c.record.StartedAt) {
		c.record.StartedAt = c.record.FinishedAt // it ended before we looked at the clock
	}
	err = writeRecord(c.dir, c.record)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.record.Name, err)
	}
	d.publish(driver.Event{Type: driver.EventStarted, ContainerID: id, At: time.Now()})
	return nil
}

// exit is how a container ended.
type exit struct {
	Code int32
	At   time.Time
	OOM  bool
	// Lost is set where nobody knows how it ended.
	Lost bool
}

// watchTask waits in the background for the end of a task and puts it on record.
func (d *Driver) watchTask(c *container, task containerd.Task) {
	c.mu.Lock()
	c.task = task
	c.mu.Unlock()
	d.wg.Go(func() {
		e, ok := d.awaitExit(c, task)
		if !ok {
			return // the driver is closing; the next one takes over
		}
		if e.Code == 137 {
			e.OOM = oomKilled(c.cgroup())
		}
		if _, err := task.Delete(d.base); err != nil && !errdefs.IsNotFound(err) {
			if d.base.Err() != nil {
				return
			}
			d.log.Warn("cannot delete an ended task", "container", c.record.ID, "err", err)
		}
		c.io.drain()
		c.finish(e)
	})
}

// awaitExit waits over broken connections to containerd.
func (d *Driver) awaitExit(c *container, task containerd.Task) (exit, bool) {
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		ch, err := task.Wait(d.base)
		if err == nil {
			st := <-ch
			if err = st.Error(); err == nil {
				return exit{Code: int32(st.ExitCode()), At: st.ExitTime()}, true
			}
		}
		if d.base.Err() != nil {
			return exit{}, false
		}
		if errdefs.IsNotFound(err) {
			return exit{Code: 255, At: time.Now(), Lost: true}, true
		}
		d.log.Debug("waiting for a container was interrupted", "container", c.record.ID, "err", err)
		select {
		case <-time.After(delay):
		case <-d.base.Done():
			return exit{}, false
		}
	}
}

// finish records the end and tells it.
func (c *container) finish(e exit) {
	c.mu.Lock()
	if c.record.Finished {
		c.mu.Unlock()
		return
	}
	c.record.Finished, c.record.FinishedAt, c.record.ExitCode, c.record.OOMKilled = true, e.At, e.Code, e.OOM
	if c.record.StartedAt.After(e.At) {
		c.record.StartedAt = e.At // it had ended before its start was noted
	}
	c.task = nil
	err := writeRecord(c.dir, c.record)
	c.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.d.log.Warn("cannot record the end of a container", "container", c.record.ID, "err", err)
	}
	close(c.done)
	c.d.publish(driver.Event{Type: driver.EventExited, ContainerID: c.record.ID, ExitCode: e.Code, At: e.At})
}

func (c *container) cgroup() string {
	s, err := c.d.sandbox(c.record.SandboxID)
	if err != nil {
		return ""
	}
	return filepath.Join(s.record.Config.CgroupParent, c.record.ID)
}

// StopContainer implements driver.Containers.
func (d *Driver) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	c, err := d.container(id)
	if errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	ctx = d.in(ctx)
	c.mu.Lock()
	task, sig := c.task, c.record.StopSignal
	started := !c.record.StartedAt.IsZero()
	c.mu.Unlock()
	if task == nil {
		return nil
	}
	if grace > 0 && started {
		stop := syscall.SIGTERM
		if sig != "" {
			if s, err := signal.ParseSignal(sig); err == nil {
				stop = s
			}
		}
		if err := task.Kill(ctx, stop); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
			return fmt.Errorf("stop container %s: %w", c.record.Name, err)
		}
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	for {
		var opts []containerd.KillOpts
		if c.record.KillAll {
			opts = append(opts, containerd.WithKillAll)
		}
		if err := task.Kill(ctx, syscall.SIGKILL, opts...); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
			return fmt.Errorf("kill container %s: %w", c.record.Name, err)
		}
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
			// Killed but not gone, as in uninterruptible sleep: try again.
		}
	}
}

// RemoveContainer implements driver.Containers.
func (d *Driver) RemoveContainer(ctx context.Context, id string) error {
	c, err := d.container(id)
	if errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	if err := d.StopContainer(ctx, id, 0); err != nil {
		return err
	}
	ctx = d.in(ctx)
	cc, err := d.client.LoadContainer(ctx, id)
	if err == nil {
		err = d.deleteContainerd(ctx, cc)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", c.record.Name, err)
	}
	c.io.release()
	if err := removeStateDir(c.dir); err != nil {
		return fmt.Errorf("remove container %s: %w", c.record.Name, err)
	}
	d.mu.Lock()
	delete(d.containers, id)
	d.mu.Unlock()
	return nil
}

// deleteContainerd removes task, metadata and snapshot of a container.
func (d *Driver) deleteContainerd(ctx context.Context, cc containerd.Container) error {
	task, err := cc.Task(ctx, func(f *cio.FIFOSet) (cio.IO, error) { return cio.Load(f) })
	if err == nil {
		_, err = task.Delete(ctx, containerd.WithProcessKill)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete task: %w", err)
	}
	if err := cc.Delete(ctx, containerd.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}
