package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// processPatience is how long a process may take to begin: interpreters and machines that
// are busy with other tests are slow.
const processPatience = time.Minute

// drainTime is how long output is read on after a process has ended, where a descendant
// keeps its pipes open.
const drainTime = 250 * time.Millisecond

// process is a plugin's process, started and talked to as hosts do.
type process struct {
	cmd      *exec.Cmd
	client   *goplugin.Client
	conn     *grpc.ClientConn
	lifeline *os.File
	lines    *remote.Lines // nil where the system has none
	// socket is where it listens.
	socket string
	// ended is closed when the process has ended; state says how then.
	ended  chan struct{}
	state  error
	stdout *os.File
	stderr *os.File
	log    io.Writer
}

// StartProcess starts a plugin's program, in whatever language it is written, shakes hands
// with it and connects, as a host does. command is a program and its arguments; the program
// gets no environment but what hosts give. All ends with the test.
//
// The points that Client gives are Go values of the SDK's interfaces, so that the suites for
// the points take them as well:
//
//	plugintest.RunNetwork(t, plugintest.NetworkCase{
//		New: func() network.Network {
//			n, _ := plugintest.StartProcess(t, "/usr/bin/python3", "wires").Client.Network()
//			return n
//		},
//		…
//	})
func StartProcess(t testing.TB, command ...string) *Harness {
	t.Helper()
	p, err := startProcess(t, command)
	if err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	h := &Harness{conn: p.conn, process: p}
	t.Cleanup(p.lines.Close)
	ctx, cancel := context.WithTimeout(context.Background(), processPatience)
	defer cancel()
	if h.Client, err = remote.Connect(ctx, p.conn, "plugintest"); err != nil {
		t.Fatalf("plugintest: connect: %v", err)
	}
	h.Client.UseLines(p.lines, nil)
	h.Environment = environment(t)
	h.Client.SetEnvironment(h.Environment)
	return h
}

// startProcess starts a program and shakes hands with it.
func startProcess(t testing.TB, command []string) (*process, error) {
	t.Helper()
	p := &process{ended: make(chan struct{}), log: testWriter{t}}
	// t.TempDir's path may be too long for a socket.
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		return nil, err
	}
	if p.cmd, err = commandOf(command, t.TempDir()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	identity, err := remote.NewIdentity()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.lines, _ = remote.NewLines() // without them, all goes over gRPC
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: remote.Plugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        identity.TLS,
		SkipHostEnv:      true,
		StartTimeout:     processPatience,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		Stderr:           p.log,
		SyncStdout:       p.log,
		SyncStderr:       p.log,
		GRPCDialOptions:  remote.DialOptions(),
		RunnerFunc: func(_ hclog.Logger, handshake *exec.Cmd, sockets string) (runner.Runner, error) {
			p.cmd.Env = append(append(p.cmd.Env, handshake.Env...), identity.Env)
			if err := p.lines.Pass(p.cmd); err != nil {
				return nil, err
			}
			return &processRunner{p, sockets}, nil
		},
	})
	t.Cleanup(func() {
		p.kill()
		p.client.Kill()
		_ = os.RemoveAll(dir)
	})
	rpc, err := p.client.Client()
	p.lines.Passed()
	if err != nil {
		return nil, fmt.Errorf("%s did not shake hands: %w", p.cmd.Path, err)
	}
	raw, err := rpc.Dispense(protocol.PluginName)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.cmd.Path, err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("connect to %s: unexpected client %T", p.cmd.Path, raw)
	}
	p.conn = conn
	return p, nil
}

// commandOf makes a command with the environment that hosts give, without the handshake's.
func commandOf(command []string, dir string) (*exec.Cmd, error) {
	if len(command) == 0 {
		return nil, errors.New("a plugin's command is a program and its arguments; there is none")
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return nil, fmt.Errorf("the plugin's program: %w", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, err
	}
	args := make([]string, 0, len(command))
	for _, a := range command[1:] {
		// It runs in a directory of its own, so paths that are relative to the test's are made whole.
		if _, err := os.Stat(a); err == nil {
			if a, err = filepath.Abs(a); err != nil {
				return nil, err
			}
		}
		args = append(args, a)
	}
	cmd := exec.Command(program, args...) //nolint:noctx // it is asked to end first, and killed later
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + dir, "TMPDIR=" + dir, protocol.LifelineEnv + "=stdin",
	}
	return cmd, nil
}

// start starts the process.
func (p *process) start() (err error) {
	var files []*os.File
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w
	}
	stdin, lifeline := pipe()
	stdout, out := pipe()
	stderr, errs := pipe()
	if err == nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, out, errs
		err = p.cmd.Start()
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		close(p.ended)
		return fmt.Errorf("start %s: %w", p.cmd.Path, err)
	}
	for _, f := range []*os.File{stdin, out, errs} {
		_ = f.Close()
	}
	p.lifeline, p.stdout, p.stderr = lifeline, stdout, stderr
	go func() {
		p.state = p.cmd.Wait()
		deadline := time.Now().Add(drainTime)
		_ = stdout.SetReadDeadline(deadline)
		_ = stderr.SetReadDeadline(deadline)
		close(p.ended)
	}()
	return nil
}

// kill ends the process at once, and waits until it has ended.
func (p *process) kill() {
	if p.lifeline != nil {
		_ = p.cmd.Process.Kill()
		_ = p.lifeline.Close()
		<-p.ended
	}
}

// processRunner is go-plugin's view of a process.
type processRunner struct {
	p       *process
	sockets string
}

var _ runner.Runner = (*processRunner)(nil)

// Start implements runner.Runner.
func (r *processRunner) Start(context.Context) error { return r.p.start() }

// Wait implements runner.AttachedRunner. go-plugin calls it when it has read all output.
func (r *processRunner) Wait(context.Context) error {
	<-r.p.ended
	_ = r.p.stdout.Close()
	_ = r.p.stderr.Close()
	return r.p.state
}

// Kill implements runner.AttachedRunner.
func (r *processRunner) Kill(context.Context) error {
	r.p.kill()
	return nil
}

// Stdout implements runner.Runner.
func (r *processRunner) Stdout() io.ReadCloser { return r.p.stdout }

// Stderr implements runner.Runner.
func (r *processRunner) Stderr() io.ReadCloser { return r.p.stderr }

// Name implements runner.Runner.
func (r *processRunner) Name() string { return r.p.cmd.Path }

// ID implements runner.AttachedRunner.
func (r *processRunner) ID() string {
	if r.p.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(r.p.cmd.Process.Pid)
}

// Diagnose implements runner.Runner.
func (r *processRunner) Diagnose(context.Context) string {
	return "a plugin's first line on its standard output must be the handshake: 1|1|unix|SOCKET|grpc|CERTIFICATE"
}

// PluginToHost implements runner.AddrTranslator. Hosts connect to nothing but a socket in the
// directory that they gave.
func (r *processRunner) PluginToHost(network, address string) (string, string, error) {
	st, err := os.Lstat(address)
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != r.sockets || err != nil || st.Mode().Type() != os.ModeSocket {
		return "", "", fmt.Errorf("it wants to be reached at %s %q, which is no socket in the directory that it was given (PLUGIN_UNIX_SOCKET_DIR)", network, address)
	}
	r.p.socket = address
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (r *processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
