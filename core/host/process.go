package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// drainTime is how long output is read on after a process has ended, where a stray
// descendant keeps its pipes open.
const drainTime = 250 * time.Millisecond

// launcher forks from one OS thread that lives as long as the host does. The kernel ties
// a parent-death signal to the thread that forked, and Go ends threads at will.
type launcher struct {
	requests chan func()
	once     sync.Once
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// No plugin has a reason to gain privileges by running a program. Kernels without this are gone.
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		for f := range l.requests {
			f()
		}
	}()
	return l
}

// Start implements starter.
func (l *launcher) Start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	l.requests <- func() { result <- cmd.Start() }
	return <-result
}

// Close ends the thread, and with it every process it forked that is still there.
func (l *launcher) Close() { l.once.Do(func() { close(l.requests) }) }

// starter forks processes.
type starter interface {
	Start(cmd *exec.Cmd) error
}

// process runs one plugin process for go-plugin: in a process group of its own, dying
// with the host, its standard input being the lifeline by which it knows that the host
// lives.
type process struct {
	name string
	// sockets is the directory in which the plugin must listen.
	sockets  string
	cmd      *exec.Cmd
	launcher starter
	// after is called once when the process has been reaped, or could not be started.
	after func(*Exit)

	stdout, stderr *os.File
	lifeline       *os.File
	done           chan struct{} // closed when the process has been reaped
	drained        chan struct{} // closed when what it wrote has been read
	drain          sync.Once

	mu     sync.Mutex
	pid    int
	reaped bool
	exit   *Exit
}

var _ runner.Runner = (*process)(nil)

func newProcess(name, sockets string, l starter, cmd *exec.Cmd, after func(*Exit)) *process {
	return &process{name: name, sockets: sockets, cmd: cmd, launcher: l, after: after, done: make(chan struct{}), drained: make(chan struct{})}
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	var theirs, ours []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	pipe := func(toChild bool) (child, host *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		child, host = w, r
		if toChild {
			child, host = r, w
		}
		theirs, ours = append(theirs, child), append(ours, host)
		return child, host, nil
	}
	stdin, lifeline, err := pipe(true)
	if err == nil {
		p.cmd.Stdin, p.lifeline = stdin, lifeline
		p.cmd.Stdout, p.stdout, err = filePipe(pipe)
	}
	if err == nil {
		p.cmd.Stderr, p.stderr, err = filePipe(pipe)
	}
	if err == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		p.mu.Lock()
		if p.reaped {
			err = errors.New("stopped before it was started")
		} else if err = p.launcher.Start(p.cmd); err == nil {
			p.pid = p.cmd.Process.Pid
		}
		p.mu.Unlock()
	}
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		p.mu.Lock()
		p.reaped = true
		p.mu.Unlock()
		p.after(nil)
		close(p.done)
		return fmt.Errorf("start %s: %w", p.cmd.Path, err)
	}
	go p.reap()
	return nil
}

func filePipe(pipe func(bool) (*os.File, *os.File, error)) (io.Writer, *os.File, error) {
	child, host, err := pipe(false)
	return child, host, err
}

// reap waits for the end of the process and takes what is left of its group along. It
// looks before it reaps, so that the group's number can't be another's by then.
func (p *process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	_ = p.cmd.Wait() // the state says more than the error
	p.reaped = true
	exit := exitOf(p.cmd.ProcessState, time.Now())
	p.mu.Unlock()
	p.after(exit)
	p.mu.Lock()
	p.exit = exit
	p.mu.Unlock()
	_ = p.lifeline.Close()
	deadline := time.Now().Add(drainTime)
	_ = p.stdout.SetReadDeadline(deadline)
	_ = p.stderr.SetReadDeadline(deadline)
	close(p.done)
}

// lastWords waits until what an ended process wrote has been read, which may be its panic.
func (p *process) lastWords() {
	patience := time.NewTimer(2 * drainTime)
	defer patience.Stop()
	select {
	case <-p.drained:
	case <-patience.C:
	}
}

// Wait implements runner.AttachedRunner. go-plugin calls it when it has read all output.
func (p *process) Wait(context.Context) error {
	p.drain.Do(func() { close(p.drained) })
	<-p.done
	_ = p.stdout.Close()
	_ = p.stderr.Close()
	if e := p.ended(); e != nil && (e.Code != 0 || e.Signal != "") {
		return errors.New(e.String())
	}
	return nil
}

// Kill implements runner.AttachedRunner: it kills the whole group at once.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if p.pid == 0 {
		p.reaped = true // Start refuses from now on
		return nil
	}
	return unix.Kill(-p.pid, unix.SIGKILL)
}

// ended returns how the process ended, or nil.
func (p *process) ended() *Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name implements runner.Runner.
func (p *process) Name() string { return p.name }

// ID implements runner.AttachedRunner.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string {
	return "a plugin's first line on its standard output must be the handshake that serve.Serve writes"
}

// PluginToHost implements runner.AddrTranslator. The host connects to nothing but a socket in
// the directory that it gave: a plugin could name somebody else's.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	var st unix.Stat_t
	if network == "unix" && filepath.Dir(filepath.Clean(address)) == p.sockets &&
		unix.Lstat(address, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return network, address, nil
	}
	return "", "", refuse("it wants to be reached at %s %q, which is no socket in the directory that it was given (PLUGIN_UNIX_SOCKET_DIR)", network, address)
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
