package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// sandbox is what the containers of a pod share.
type sandbox struct {
	record sandboxRecord
	dir    string
	// making is held while the sandbox is made or removed.
	making sync.Mutex
}

func (s *sandbox) ns(kind string) string { return filepath.Join(s.dir, "ns", kind) }
func (s *sandbox) shm() string           { return filepath.Join(s.dir, "shm") }

// kinds lists the namespaces that the sandbox has of its own.
func (s *sandbox) kinds() []string { return kindsOf(s.record.Config) }

func kindsOf(c driver.SandboxConfig) []string {
	var out []string
	if !c.HostNetwork {
		// The host's network goes with the host's name.
		out = append(out, "net", "uts")
	}
	if !c.HostIPC {
		out = append(out, "ipc")
	}
	return out
}

func (s *sandbox) status() driver.Sandbox {
	c := s.record.Config
	out := driver.Sandbox{
		ID: c.ID, Namespace: c.Namespace, Name: c.Name, UID: c.UID, Attempt: c.Attempt,
		CreatedAt: s.record.CreatedAt, Labels: c.Labels, Ready: true,
	}
	if !c.HostNetwork {
		out.NetNS = s.ns("net")
	}
	for _, k := range s.kinds() {
		if !isNamespace(s.ns(k)) {
			out.Ready = false
		}
	}
	return out
}

// RunSandbox implements driver.Sandboxes.
func (d *Driver) RunSandbox(ctx context.Context, cfg driver.SandboxConfig) (_ driver.Sandbox, err error) {
	d.mu.Lock()
	s, ok := d.sandboxes[cfg.ID]
	d.mu.Unlock()
	if ok {
		s.making.Lock()
		defer s.making.Unlock()
		return s.status(), nil
	}
	if cfg.SharePID && len(d.cfg.Pause) == 0 {
		return driver.Sandbox{}, fmt.Errorf("sandbox of pod %s/%s: shareProcessNamespace needs a pause command and none is configured", cfg.Namespace, cfg.Name)
	}
	s = &sandbox{dir: filepath.Join(d.cfg.Dir, "sandboxes", cfg.ID), record: sandboxRecord{Config: cfg, CreatedAt: time.Now()}}
	s.making.Lock()
	defer s.making.Unlock()
	if err := os.MkdirAll(filepath.Join(s.dir, "ns"), 0o711); err != nil {
		return driver.Sandbox{}, fmt.Errorf("make sandbox: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make sandbox of pod %s/%s: %w", cfg.Namespace, cfg.Name, err)
			if rerr := removeStateDir(s.dir); rerr != nil {
				d.log.Warn("cannot remove a failed sandbox", "sandbox", cfg.ID, "err", rerr)
			}
		}
	}()
	if err := pinNamespaces(s.kinds(), s.ns, cfg.Hostname); err != nil {
		return driver.Sandbox{}, err
	}
	if !cfg.HostIPC {
		if err := os.Mkdir(s.shm(), 0o1777); err != nil && !os.IsExist(err) {
			return driver.Sandbox{}, err
		}
		if err := unix.Mount("shm", s.shm(), "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=65536k"); err != nil {
			return driver.Sandbox{}, fmt.Errorf("mount shared memory: %w", err)
		}
	}
	if cfg.SharePID {
		if s.record.PauseID, err = d.runPause(d.in(ctx), s); err != nil {
			return driver.Sandbox{}, err
		}
	}
	if err := writeRecord(s.dir, s.record); err != nil {
		return driver.Sandbox{}, err
	}
	d.mu.Lock()
	d.sandboxes[cfg.ID] = s
	d.mu.Unlock()
	return s.status(), nil
}

// RemoveSandbox implements driver.Sandboxes.
func (d *Driver) RemoveSandbox(ctx context.Context, id string) error {
	s, err := d.sandbox(id)
	if errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	d.mu.Lock()
	var ids []string
	for _, c := range d.containers {
		if c.record.SandboxID == id {
			ids = append(ids, c.record.ID)
		}
	}
	d.mu.Unlock()
	for _, cid := range ids {
		if err := d.RemoveContainer(ctx, cid); err != nil {
			return fmt.Errorf("remove sandbox of pod %s/%s: %w", s.record.Config.Namespace, s.record.Config.Name, err)
		}
	}
	if s.record.PauseID != "" {
		if err := d.removePause(d.in(ctx), s.record.PauseID); err != nil {
			return fmt.Errorf("remove sandbox of pod %s/%s: %w", s.record.Config.Namespace, s.record.Config.Name, err)
		}
	}
	if err := removeStateDir(s.dir); err != nil {
		return fmt.Errorf("remove sandbox of pod %s/%s: %w", s.record.Config.Namespace, s.record.Config.Name, err)
	}
	d.mu.Lock()
	delete(d.sandboxes, id)
	d.mu.Unlock()
	return nil
}
