package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// writeLog appends a line to a container's log, in the format that the agent reads: that of the CRI.
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

// running says why a container can't be talked to.
func (d *driver) running(id string) error {
	st, err := d.file.read()
	if err != nil {
		return err
	}
	c, ok := st.Containers[id]
	if !ok {
		return absent("container", id)
	}
	if c.State != runtimedriver.ContainerRunning {
		return fmt.Errorf("container %s is %s", c.Name, c.State)
	}
	return nil
}

// Exec implements runtimedriver.Streams: a hollow container echoes the command.
func (d *driver) Exec(_ context.Context, id string, cmd []string, std runtimedriver.Stdio) (int, error) {
	if err := d.running(id); err != nil {
		return 0, err
	}
	if std.Out == nil {
		return 0, nil
	}
	_, err := fmt.Fprintln(std.Out, strings.Join(cmd, " "))
	return 0, err
}

// Attach implements runtimedriver.Streams: it lasts until the container ends.
func (d *driver) Attach(ctx context.Context, id string, _ runtimedriver.Stdio) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := d.Events(ctx)
	if err != nil {
		return err
	}
	if err := d.running(id); err != nil {
		return err
	}
	for e := range events {
		if e.ContainerID == id && e.Type == runtimedriver.EventExited {
			return nil
		}
	}
	return ctx.Err()
}
