// Package pause is the process that keeps a shared process namespace alive: it is its
// first process, reaps what the pod's containers leave behind, and ends when it is told.
// The command that links it must be static, for it runs in an empty root.
package pause

import (
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Main runs until SIGTERM or SIGINT. It is meant to be process 1 of its namespace.
func Main() { run(func() {}) }

// run calls ready when signals are waited for.
func run(ready func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGCHLD)
	ready()
	for s := range signals {
		if s != unix.SIGCHLD {
			return
		}
		reap()
	}
}

// reap collects all processes that have ended.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
	}
}
