package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// searchPath is the PATH of plugins: that of the system's own tools.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch starts the plugin's process and shakes hands with it.
func (i *instance) launch(ctx context.Context, dir string, env protocol.Environment) (*guest, error) {
	cmd, err := i.command(dir)
	if err != nil {
		return nil, err
	}
	identity, err := remote.NewIdentity()
	if err != nil {
		return nil, err
	}
	lines := i.openLines()
	var proc *process
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: remote.Plugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        identity.TLS,
		SkipHostEnv:      true,
		StartTimeout:     i.host.config.StartTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: i.host.sockets},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		Stderr:           i.out,
		SyncStdout:       i.out,
		SyncStderr:       i.out,
		GRPCDialOptions:  append(append(remote.DialOptions(), i.calls.option()), i.meter.options()...),
		RunnerFunc: func(_ hclog.Logger, handshake *exec.Cmd, sockets string) (runner.Runner, error) {
			cmd.Env = append(append(cmd.Env, handshake.Env...), identity.Env)
			if err := lines.Pass(cmd); err != nil {
				return nil, err
			}
			from, after, err := i.starter(cmd, env, sockets)
			if err != nil {
				return nil, err
			}
			proc = newProcess(i.spec.Name, sockets, from, cmd, after)
			// While go-plugin waits for the handshake it can't be told to stop; the
			// process can.
			context.AfterFunc(ctx, func() {
				if i.snapshot().Health == HealthStarting {
					_ = proc.Kill(context.Background())
				}
			})
			return proc, nil
		},
	})
	rpc, err := client.Client()
	lines.Passed()
	if err != nil {
		client.Kill()
		lines.Close()
		i.ended(proc)
		return nil, i.startError(proc, err)
	}
	pid, _ := strconv.Atoi(proc.ID())
	i.update(func(st *Status) { st.PID = pid })
	i.out.note("started as process %d", pid)
	kill := func() { _ = proc.Kill(context.Background()) }
	stop := func() {
		// go-plugin asks a plugin to shut down and waits for its answer without end.
		patience := time.AfterFunc(i.host.config.StopTimeout, kill)
		client.Kill()
		patience.Stop()
		lines.Close()
		i.ended(proc)
	}
	g, err := i.meet(ctx, rpc, env)
	if err != nil {
		stop()
		if e := proc.ended(); e != nil && e.Code != 0 && e.Signal == "" {
			err = i.deathError(proc)
		}
		return nil, err
	}
	g.client.UseLines(lines, i.meter.stream)
	g.ended, g.why = proc.done, func() error { return i.deathError(proc) }
	g.stop, g.kill = stop, kill
	return g, nil
}

// command makes the plugin's command after checking its binary. Its environment holds
// nothing of the host's.
func (i *instance) command(dir string) (*exec.Cmd, error) {
	argv := i.spec.Command
	if i.spec.Path != "" {
		argv = append([]string{i.spec.Path}, i.spec.Args...)
	}
	if err := verify(argv[0], i.spec.SHA256); err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // the supervisor ends it: asks first, kills later
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + searchPath, "HOME=" + dir, "TMPDIR=" + dir, protocol.DataEnv + "=" + dir, protocol.LifelineEnv + "=stdin",
	}
	if soft := i.softMemoryLimit(); soft > 0 {
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.FormatInt(soft, 10))
	}
	for _, k := range slices.Sorted(maps.Keys(i.spec.Env)) {
		cmd.Env = append(cmd.Env, k+"="+i.spec.Env[k])
	}
	return cmd, nil
}

// meet connects to a plugin that has shaken hands, and learns what it offers.
func (i *instance) meet(ctx context.Context, rpc goplugin.ClientProtocol, env protocol.Environment) (*guest, error) {
	raw, err := rpc.Dispense(protocol.PluginName)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("connect: unexpected client %T", raw)
	}
	return i.converse(ctx, conn, env)
}

// converse makes a guest of a plugin at the other end of a connection.
func (i *instance) converse(ctx context.Context, conn *grpc.ClientConn, env protocol.Environment) (*guest, error) {
	ctx, cancel := context.WithTimeout(ctx, i.host.config.CallTimeout)
	defer cancel()
	c, err := remote.Connect(ctx, conn, i.host.config.Version)
	if err != nil {
		return nil, err
	}
	c.SetEnvironment(env)
	g := &guest{base: c, client: c, points: c.Points()}
	if ctl, ok := c.Controller(); ok {
		g.controller = ctl
	}
	if sched, ok, err := c.Scheduler(ctx); err != nil {
		return nil, err
	} else if ok {
		g.scheduler = sched
	}
	health := grpc_health_v1.NewHealthClient(conn)
	g.ping = func(ctx context.Context) error {
		_, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
		return err
	}
	return g, nil
}

// ended records how a process ended.
func (i *instance) ended(proc *process) {
	if proc == nil {
		return
	}
	<-proc.done
	exit := proc.ended()
	if exit == nil {
		return
	}
	i.out.note("process %s ended: %s", proc.ID(), exit)
	i.meter.past.Add(int64(exit.cpu))
	i.update(func(st *Status) { st.PID, st.LastExit = 0, exit })
}

// deadError: the plugin's process has ended by itself, or was ended from outside.
type deadError struct {
	text string
	exit *Exit
}

func (e *deadError) Error() string { return e.text }

// deathError says how a process ended, and of which panic.
func (i *instance) deathError(proc *process) error {
	proc.lastWords()
	_, panicText := i.out.tail(0)
	first, _, _ := strings.Cut(panicText, "\n")
	if first != "" {
		return &deadError{fmt.Sprintf("process %s died of %s (%s)", proc.ID(), first, proc.ended()), proc.ended()}
	}
	return &deadError{fmt.Sprintf("process %s ended: %s", proc.ID(), proc.ended()), proc.ended()}
}

// startError says in the operator's terms why there was no handshake.
func (i *instance) startError(proc *process, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "timeout while waiting for plugin to start"):
		return fmt.Errorf("it did not answer its handshake within %s; is %s a Pintle plugin?",
			i.host.config.StartTimeout, i.binary())
	case strings.HasPrefix(text, "Unrecognized remote plugin message: \n"), proc != nil && proc.ended() != nil && proc.ended().Signal == "" && strings.Contains(text, "plugin exited"):
		if e := proc.ended(); e != nil {
			return fmt.Errorf("before its handshake %w", i.deathError(proc))
		}
		return errors.New("it closed its standard output before its handshake")
	case strings.HasPrefix(text, "Unrecognized remote plugin message: "):
		line, _, _ := strings.Cut(strings.TrimPrefix(text, "Unrecognized remote plugin message: "), "\n")
		return fmt.Errorf("it wrote %q where its handshake should be; is %s a Pintle plugin?", line, i.binary())
	case strings.Contains(text, "incompatible"):
		return refuse("%w", err)
	default:
		return err
	}
}

func (i *instance) binary() string {
	if i.spec.Path != "" {
		return i.spec.Path
	}
	return i.spec.Command[0]
}
