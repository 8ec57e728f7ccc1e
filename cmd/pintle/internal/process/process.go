// Package process starts Pintle's processes detached and finds them again: whoever holds
// the lock on its pid file is the process, so a reused process id is never mistaken.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes the lock of a process for as long as this one lives and writes its id. It
// fails where another process holds it.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := readPID(path)
		return nil, errors.Join(fmt.Errorf("%s is held by process %d: it is running already", path, pid), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock file: %w", err), f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock file: %w", err), f.Close())
	}
	return f, nil
}

// Find returns the id of the process that holds the lock, or 0.
func Find(path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("lock file: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("lock file %s: %w", path, err)
	}
	return readPID(path)
}

func readPID(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("lock file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("lock file %s holds no process id: %w", path, err)
	}
	return pid, nil
}

// Start runs a command detached, in a session of its own, with its output appended to
// logFile. The channel gets the error with which it ends, should it end while we watch.
func Start(logFile string, name string, args ...string) (int, <-chan error, error) {
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("log file: %w", err)
	}
	defer log.Close() // the child has its own descriptor

	cmd := exec.Command(name, args...) //nolint:noctx // it outlives whoever starts it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("starting %s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd.Process.Pid, ended, nil
}

// Stop asks the process that holds the lock to end, and kills it where it has not done so
// within grace. It reports whether there was one.
func Stop(ctx context.Context, lock string, grace time.Duration) (bool, error) {
	pid, err := Find(lock)
	if err != nil || pid == 0 {
		return false, err
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return true, fmt.Errorf("ending process %d: %w", pid, err)
		}
		if waitReleased(ctx, lock, step.wait) {
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return true, fmt.Errorf("waiting for process %d to end: %w", pid, err)
		}
	}
	return true, fmt.Errorf("process %d does not end", pid)
}

func waitReleased(ctx context.Context, lock string, limit time.Duration) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid, err := Find(lock); err == nil && pid == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
}
