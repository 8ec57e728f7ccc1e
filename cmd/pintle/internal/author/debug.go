package author

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Debugger is Delve, attached to a plugin's process and waiting on a socket.
type Debugger struct {
	// Socket is where editors and `dlv connect` find it.
	Socket string
	cmd    *exec.Cmd
	done   chan struct{}
	err    error
}

// patience is how long Delve may take to attach.
const patience = 30 * time.Second

// FindDelve returns the path of Delve, or says how to get it.
func FindDelve() (string, error) {
	path, err := exec.LookPath("dlv")
	if err != nil {
		return "", errors.New("debugging needs Delve, and there is no dlv in the PATH: go install github.com/go-delve/delve/cmd/dlv@latest")
	}
	return path, nil
}

// Debug attaches Delve to a process. It listens on the socket, for as many clients as come, and
// lets the process go on until one of them halts it. What Delve says goes to log. The process
// goes on when the debugger is closed.
func Debug(ctx context.Context, pid int, socket string, log io.Writer) (*Debugger, error) {
	dlv, err := FindDelve()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	cmd := exec.Command(dlv, "attach", fmt.Sprint(pid), "--headless", "--accept-multiclient", "--continue", "--api-version=2", "--listen=unix:"+socket) //nolint:noctx // it is asked to end, and detaches then
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("dlv: %w", err)
	}
	d := &Debugger{Socket: socket, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.err = cmd.Wait()
	}()
	if err := d.wait(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// wait returns when somebody could connect. It does not connect: Delve would count it.
func (d *Debugger) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if st, err := os.Stat(d.Socket); err == nil && st.Mode()&os.ModeSocket != 0 {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("dlv ended: %w (attaching to another user's process needs root, or kernel.yama.ptrace_scope=0)", d.err)
		case <-ctx.Done():
			return fmt.Errorf("dlv does not listen on %s: %w", d.Socket, ctx.Err())
		case <-tick.C:
		}
	}
}

// Done is closed when the debugger has ended, as it does with the process.
func (d *Debugger) Done() <-chan struct{} { return d.done }

// Close lets the process go on and ends the debugger.
func (d *Debugger) Close() {
	_ = d.cmd.Process.Signal(os.Interrupt)
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-d.done:
	case <-t.C:
		_ = d.cmd.Process.Kill()
		<-d.done
	}
	_ = os.Remove(d.Socket)
}

// SocketFor is the fixed socket of a plugin's debugger, below dir where that is short enough for
// a socket's path.
func SocketFor(dir, plugin string) string {
	socket := filepath.Join(dir, "debug.sock")
	if len(socket) >= maxSocketPath {
		socket = filepath.Join(os.TempDir(), "pintle-debug-"+plugin+".sock")
	}
	return socket
}

// maxSocketPath is that of Linux, with the byte at its end.
const maxSocketPath = 108
