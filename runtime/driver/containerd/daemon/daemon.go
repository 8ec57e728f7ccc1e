package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// maxSocketPath keeps a socket's path, with the suffix containerd appends, below the
// kernel's limit.
const maxSocketPath = 95

// shimSockets is where shims of every containerd put their sockets.
const shimSockets = "/run/containerd/s"

// Config says where the daemon lives.
type Config struct {
	// Dir holds everything: root, state, configuration, log, socket. Absolute.
	Dir string
	// Binary is the containerd to run; found in PATH by default.
	Binary string
	Logger *slog.Logger
}

// Daemon is a containerd that answers.
type Daemon struct {
	// Address is its socket.
	Address string
	// RuncRoot is where runc is to keep its state.
	RuncRoot string
	// Started is set where it was not running before.
	Started bool
	// PID of the process.
	PID int
}

func (c Config) path(name string) string { return filepath.Join(c.Dir, name) }

// socket is in Dir, or where that is too long for a socket, in a directory below /run
// that is named after it.
func (c Config) socket() string {
	if s := c.path("containerd.sock"); len(s) <= maxSocketPath {
		return s
	}
	sum := sha256.Sum256([]byte(c.Dir))
	return filepath.Join("/run/pintle-"+hex.EncodeToString(sum[:8]), "containerd.sock")
}

var configTemplate = template.Must(template.New("").Parse(`# Written by pintle at every start; changes are lost.
version = 2
root = {{printf "%q" .Root}}
state = {{printf "%q" .State}}
oom_score = 0
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.podsandbox.controller.v1.podsandbox",
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = {{printf "%q" .Socket}}

[ttrpc]
  address = {{printf "%q" .TTRPC}}
`))

// Ensure returns the daemon of the directory, starting it if it does not answer. The
// daemon goes on when the caller ends.
func Ensure(ctx context.Context, cfg Config) (*Daemon, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("containerd: Dir %q is no absolute path", cfg.Dir)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Daemon{Address: cfg.socket(), RuncRoot: cfg.path("runc")}
	if pid, ok := cfg.running(); ok {
		if err := wait(ctx, d.Address, 10*time.Second); err == nil {
			d.PID = pid
			return d, nil
		}
		cfg.Logger.Warn("containerd runs but does not answer; starting it anew", "pid", pid)
		if err := end(ctx, pid); err != nil {
			return nil, err
		}
	}
	pid, err := cfg.start()
	if err != nil {
		return nil, err
	}
	d.PID, d.Started = pid, true
	if err := wait(ctx, d.Address, 20*time.Second); err != nil {
		return nil, fmt.Errorf("containerd was started but does not answer: %w; the end of its log:\n%s", err, tail(cfg.path("containerd.log"), 10))
	}
	return d, nil
}

// Keep starts the daemon again whenever it has ended, until the context does. Containers
// run on meanwhile, under their shims.
func Keep(ctx context.Context, cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if pid, ok := cfg.running(); ok && !gone(pid) {
			continue
		}
		cfg.Logger.Warn("containerd has ended; starting it again")
		if _, err := Ensure(ctx, cfg); err != nil && ctx.Err() == nil {
			cfg.Logger.Error("cannot start containerd again", "err", err)
		}
	}
}

func (c Config) start() (int, error) {
	binary := c.Binary
	if binary == "" {
		binary = "containerd"
	}
	exe, err := exec.LookPath(binary)
	if err != nil {
		return 0, fmt.Errorf("containerd: %w; install the package containerd", err)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return 0, fmt.Errorf("containerd needs runc: %w; install the package runc", err)
	}
	for _, dir := range []string{c.Dir, filepath.Dir(c.socket())} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return 0, fmt.Errorf("containerd: %w", err)
		}
	}
	var b bytes.Buffer
	if err := configTemplate.Execute(&b, map[string]string{
		"Root": c.path("root"), "State": c.path("state"), "Socket": c.socket(), "TTRPC": c.socket() + ".ttrpc",
	}); err != nil {
		return 0, fmt.Errorf("containerd: write configuration: %w", err)
	}
	if err := os.WriteFile(c.path("config.toml"), b.Bytes(), 0o600); err != nil {
		return 0, fmt.Errorf("containerd: write configuration: %w", err)
	}
	log, err := os.OpenFile(c.path("containerd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("containerd: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(exe, "--config", c.path("config.toml")) //nolint:noctx // it outlives whoever starts it
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}
	// A session of its own: signals for the one who starts it are not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while we live
	pid := cmd.Process.Pid
	if err := os.WriteFile(c.path("containerd.pid"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return 0, fmt.Errorf("containerd: %w", errors.Join(err, cmd.Process.Kill()))
	}
	return pid, nil
}

// running finds the daemon's process. A process id that now belongs to another program
// is not it.
func (c Config) running() (int, bool) {
	b, err := os.ReadFile(c.path("containerd.pid"))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, false
	}
	for _, arg := range cmdline(pid) {
		if arg == c.path("config.toml") {
			return pid, true
		}
	}
	return 0, false
}

func cmdline(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

func wait(ctx context.Context, socket string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, 200*time.Millisecond) {
		err := probe(ctx, socket)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
}

func probe(ctx context.Context, socket string) error {
	if _, err := os.Stat(socket); err != nil {
		return fmt.Errorf("containerd's socket: %w", err)
	}
	c, err := containerd.New(socket, containerd.WithTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ok, err := c.IsServing(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	if !ok {
		return errors.New("containerd is not serving yet")
	}
	return nil
}

func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// end stops a process and waits for it to go.
func end(ctx context.Context, pid int) error {
	for _, step := range []struct {
		sig   syscall.Signal
		limit time.Duration
	}{{syscall.SIGTERM, 10 * time.Second}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := syscall.Kill(pid, step.sig); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		deadline := time.Now().Add(step.limit)
		for time.Now().Before(deadline) {
			if gone(pid) {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// gone is true for zombies too: their parent will reap them.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	s := string(b)
	i := strings.LastIndexByte(s, ')')
	return i < 0 || len(s) < i+3 || s[i+2] == 'Z'
}

// Stop ends the daemon, its shims and what they left mounted, and removes everything of
// it from the disk. Containers should have been torn down before; what is left of them
// is killed.
func Stop(ctx context.Context, cfg Config) error {
	if !filepath.IsAbs(cfg.Dir) {
		return fmt.Errorf("containerd: Dir %q is no absolute path", cfg.Dir)
	}
	var errs []error
	if pid, ok := cfg.running(); ok {
		errs = append(errs, end(ctx, pid))
	}
	errs = append(errs, cfg.endShims(ctx))
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(cfg.Dir))
	errs = append(errs, err)
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	if dir := filepath.Dir(cfg.socket()); dir != cfg.Dir {
		errs = append(errs, os.RemoveAll(dir))
	}
	errs = append(errs, os.RemoveAll(cfg.Dir))
	// Shared with any other containerd: removed only where empty.
	for _, dir := range []string{shimSockets, filepath.Dir(shimSockets)} {
		_ = os.Remove(dir)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	return nil
}

// endShims kills shims of this daemon with what runs under them.
func (c Config) endShims(ctx context.Context) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args := cmdline(pid)
		if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") {
			continue
		}
		for i, a := range args {
			if a == "-address" && i+1 < len(args) && args[i+1] == c.socket() {
				for _, child := range children(pid) {
					errs = append(errs, syscall.Kill(child, syscall.SIGKILL))
				}
				errs = append(errs, end(ctx, pid))
			}
		}
	}
	for i, err := range errs {
		if errors.Is(err, syscall.ESRCH) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}
