package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Client is a plugin on the other end of a connection. It implements plugin.Plugin; what
// else the plugin does is had from Controller, Scheduler, Network and Bundle.Attach.
type Client struct {
	conn   grpc.ClientConnInterface
	base   pluginv1.BaseClient
	info   plugin.Info
	schema []byte
	points []protocol.Point
	// powers are the capabilities of each point.
	powers map[protocol.Point][]string
	env    atomic.Pointer[protocol.Environment]
	lines  lineSetting

	running     chan struct{}
	runningOnce sync.Once
}

var _ plugin.Plugin = (*Client)(nil)

// Connect asks a plugin who it is. It fails where the plugin offers an extension point in
// no version, or with a mandatory capability, that this host knows.
func Connect(ctx context.Context, conn grpc.ClientConnInterface, hostVersion string) (*Client, error) {
	c := &Client{conn: conn, base: pluginv1.NewBaseClient(conn), running: make(chan struct{})}
	info, err := c.base.Info(ctx, &pluginv1.InfoRequest{HostVersion: hostVersion})
	if err != nil {
		return nil, fmt.Errorf("info: %w", unwire(err))
	}
	c.info = protocol.InfoFromWire(info)
	for _, p := range info.GetPoints() {
		if err := speaks(p); err != nil {
			return nil, err
		}
		c.points = append(c.points, protocol.Point(p.GetName()))
		if len(p.GetCapabilities()) > 0 {
			if c.powers == nil {
				c.powers = map[protocol.Point][]string{}
			}
			c.powers[protocol.Point(p.GetName())] = p.GetCapabilities()
		}
	}
	if len(c.points) == 0 {
		return nil, fmt.Errorf("it offers no extension point")
	}
	cs, err := c.base.ConfigSchema(ctx, &pluginv1.ConfigSchemaRequest{})
	if err != nil {
		return nil, fmt.Errorf("configuration schema: %w", unwire(err))
	}
	c.schema = cs.GetSchema()
	return c, nil
}

// speaks says why this host cannot use an extension point, if so.
func speaks(p *pluginv1.ExtensionPoint) error {
	ours, known := protocol.PointVersions()[protocol.Point(p.GetName())]
	if !known {
		return fmt.Errorf("extension point %q is not known to this host: a newer host is needed", p.GetName())
	}
	if !slices.ContainsFunc(p.GetVersions(), func(v int32) bool { return slices.Contains(ours, v) }) {
		return fmt.Errorf("extension point %q: the plugin speaks versions %v, this host %v", p.GetName(), p.GetVersions(), ours)
	}
	for _, c := range p.GetCapabilities() {
		if strings.HasPrefix(c, "!") {
			return fmt.Errorf("extension point %q: the plugin needs capability %q, which this host does not have", p.GetName(), c[1:])
		}
	}
	return nil
}

// Info implements plugin.Plugin.
func (c *Client) Info() plugin.Info { return c.info }

// Points are the extension points that the plugin offers.
func (c *Client) Points() []protocol.Point { return c.points }

// Capabilities are the optional powers within a point that the plugin has.
func (c *Client) Capabilities(p protocol.Point) []string { return c.powers[p] }

// Conn is the connection to the plugin, for who passes others' calls on.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

func (c *Client) offers(p protocol.Point) bool { return slices.Contains(c.points, p) }

// ConfigSchema implements plugin.Plugin.
func (c *Client) ConfigSchema() []byte { return c.schema }

// Configure implements plugin.Plugin.
func (c *Client) Configure(ctx context.Context, settings []byte) error {
	r := &pluginv1.ConfigureRequest{Settings: settings}
	if e := c.env.Load(); e != nil {
		r.Environment = protocol.EnvironmentToWire(*e)
	}
	if _, err := c.base.Configure(ctx, r); err != nil {
		return unwire(err)
	}
	return nil
}

// Running is closed when the plugin has first said that its work (Run, Schedule) has begun.
func (c *Client) Running() <-chan struct{} { return c.running }

// SetEnvironment sets what the plugin is given when it is started. A plugin.Env has no
// form on the wire, so the Env arguments of Run, Schedule and Setup are not used.
func (c *Client) SetEnvironment(e protocol.Environment) { c.env.Store(&e) }

func (c *Client) environment() (*pluginv1.Environment, error) {
	e := c.env.Load()
	if e == nil {
		return nil, errors.New("the plugin has been given no environment")
	}
	return protocol.EnvironmentToWire(*e), nil
}

// unwire turns a gRPC error into the plugin's own text where it came from the plugin, and
// leaves it as it is where the transport failed.
func unwire(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.Aborted, codes.InvalidArgument, codes.FailedPrecondition:
		return errors.New(s.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("the plugin did not answer in time: %w", context.DeadlineExceeded)
	case codes.Canceled:
		return context.Canceled
	case codes.Unimplemented:
		return fmt.Errorf("the plugin does not implement this call: %s", s.Message())
	default:
		return fmt.Errorf("the plugin's process cannot be reached: %w", err)
	}
}

// DialOptions are those of the contract's gRPC connections. Windows of a fixed size spare the
// pings by which gRPC would otherwise measure the connection at almost each message.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes),
		),
		grpc.WithInitialWindowSize(protocol.StreamWindowBytes), grpc.WithInitialConnWindowSize(protocol.ConnWindowBytes),
	}
}

// Plugins is go-plugin's view of a plugin from the host: dispensing protocol.PluginName
// gives the *grpc.ClientConn.
func Plugins() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{
		protocol.Version: {protocol.PluginName: connPlugin{}},
	}
}

type connPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

var _ goplugin.GRPCPlugin = connPlugin{}

// GRPCServer implements goplugin.GRPCPlugin; a host serves nothing.
func (connPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host is not a plugin")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (connPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
