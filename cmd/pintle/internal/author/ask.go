package author

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Answers are what a plugin says of itself.
type Answers struct {
	Info     plugin.Info
	Points   []protocol.Point
	Settings []byte // its schema, JSON; nil where it takes none
	Types    []*crd.Definition
}

// askTimeout bounds the start of a plugin and each question.
const askTimeout = 10 * time.Second

// Ask starts a plugin's binary, asks what it says of itself, and ends it. It is given no cluster.
func Ask(ctx context.Context, binary string) (*Answers, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "pintle-ask")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	identity, err := remote.NewIdentity()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, identity.Env}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: remote.Plugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        identity.TLS,
		SkipHostEnv:      true,
		StartTimeout:     askTimeout,
		Cmd:              cmd,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		Stderr:           os.Stderr,
	})
	defer client.Kill()
	rpc, err := client.Client()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	raw, err := rpc.Dispense(protocol.PluginName)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	conn, ok := raw.(grpc.ClientConnInterface)
	if !ok {
		return nil, fmt.Errorf("%s: a %T is no connection", binary, raw)
	}
	c, err := remote.Connect(ctx, conn, "pintle plugin docs")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	a := &Answers{Info: c.Info(), Points: c.Points(), Settings: c.ConfigSchema()}
	for _, p := range a.Points {
		if p == protocol.PointResource {
			if a.Types, err = remote.Definitions(ctx, c, a.Info.Name); err != nil {
				return nil, fmt.Errorf("%s: resource types: %w", binary, err)
			}
		}
	}
	return a, nil
}

// AskBuiltin asks a plugin that is linked in.
func AskBuiltin(p plugin.Plugin) (*Answers, error) {
	a := &Answers{Info: p.Info(), Settings: p.ConfigSchema()}
	for _, point := range points.Of(p) {
		a.Points = append(a.Points, point.Name)
	}
	if b, ok := p.(resource.Bundle); ok {
		var err error
		if a.Types, err = b.Definitions(); err != nil {
			return nil, fmt.Errorf("resource types: %w", err)
		}
	}
	return a, nil
}
