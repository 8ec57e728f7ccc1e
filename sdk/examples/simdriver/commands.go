package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// play plays the command of a container: what it writes, and how it ends where it does. "echo
// WORDS" and "fail CODE WORDS" end, all else runs until it is stopped.
func play(s settings, cmd []string) (words string, code int32, ends bool) {
	switch {
	case len(cmd) > 0 && cmd[0] == "echo":
		return strings.Join(cmd[1:], " "), 0, true
	case len(cmd) > 1 && cmd[0] == "fail":
		if n, err := strconv.ParseUint(cmd[1], 10, 8); err == nil {
			return strings.Join(cmd[2:], " "), int32(n), true
		}
	}
	return s.Greeting + " " + strings.Join(cmd, " "), 0, false
}

// writeLog appends a line to a container's log, in the format of the CRI.
func writeLog(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s stdout F %s\n", time.Now().Format(time.RFC3339Nano), line)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// running returns a container that runs.
func (d *driver) running(id string) (container, error) {
	st, err := d.file.read()
	if err != nil {
		return container{}, err
	}
	c, ok := st.Containers[id]
	if !ok {
		return c, absent("container", id)
	}
	if c.State != runtimedriver.ContainerRunning {
		return c, fmt.Errorf("container %s is %s", c.Name, c.State)
	}
	return c, nil
}

// Exec implements runtimedriver.Streams: "cat" copies its input, "exit CODE" ends with that code,
// and all else is echoed.
func (d *driver) Exec(ctx context.Context, id string, cmd []string, std runtimedriver.Stdio) (int, error) {
	if _, err := d.running(id); err != nil {
		return 0, err
	}
	switch {
	case cmd[0] == "exit" && len(cmd) == 2:
		code, err := strconv.Atoi(cmd[1])
		return code, err
	case cmd[0] == "cat" && std.In != nil && std.Out != nil:
		return 0, echo(ctx, std)
	case std.Out != nil:
		_, err := fmt.Fprintln(std.Out, strings.Join(cmd, " "))
		return 0, err
	}
	return 0, nil
}

// Attach implements runtimedriver.Streams: what is typed is echoed, until the container ends.
func (d *driver) Attach(ctx context.Context, id string, std runtimedriver.Stdio) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := d.Events(ctx)
	if err != nil {
		return err
	}
	if _, err := d.running(id); err != nil {
		return err
	}
	echoed := make(chan error, 1)
	if std.In != nil && std.Out != nil {
		go func() { echoed <- echo(ctx, std) }() // until the return ends it
	}
	for {
		select {
		case err := <-echoed:
			return err
		case e, ok := <-events:
			if !ok || e.ContainerID == id && e.Type == runtimedriver.EventExited {
				return ctx.Err()
			}
		}
	}
}

// echo copies the input to the output. Its end does not wait for who types nothing.
func echo(ctx context.Context, std runtimedriver.Stdio) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(std.Out, std.In)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
