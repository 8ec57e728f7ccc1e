package serve

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Serve turns the process into the plugin impl and does not return while the host needs
// it. It offers the given extension points, at least one, each made by the point's package:
//
//	func main() {
//		w := widget.New()
//		serve.Serve(w, controller.Point(w), resource.Point(w))
//	}
//
// Logging through slog, log and klog goes to the host, which keeps it. A panic ends the
// process; the host keeps its text and starts the plugin again. Serve exits the process
// with status 1 where it was not started by a host.
func Serve(impl plugin.Plugin, points ...plugin.Point) {
	// go-plugin is about to replace os.Stderr by a stream that is lost in a crash. Logs
	// keep to the real one, where a panic's text goes too.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	if len(points) == 0 {
		fmt.Fprintf(os.Stderr, "plugin %s offers no extension point\n", impl.Info().Name)
		os.Exit(1)
	}
	slog.SetDefault(logger)
	log.SetFlags(0)
	klog.SetSlogLogger(logger)
	if os.Getenv(protocol.LifelineEnv) == "stdin" {
		go exitWithHost(os.Stdin)
	}
	go trimWhenIdle()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: protocol.Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{
			protocol.Version: {protocol.PluginName: &grpcPlugin{impl: impl, points: points, log: logger}},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, ServerOptions()...)...)
		},
		Logger: protocol.HCLog(logger, hclog.Warn),
	})
}

// ServerOptions are those of the contract's gRPC servers.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(protocol.MaxMessageBytes),
		grpc.MaxSendMsgSize(protocol.MaxMessageBytes),
		grpc.InitialWindowSize(protocol.StreamWindowBytes),
		grpc.InitialConnWindowSize(protocol.ConnWindowBytes),
	}
}

// exitWithHost ends the process when the host's end of the lifeline closes. A host that
// was killed cannot say goodbye, and on systems without a parent-death signal nothing
// else would tell.
func exitWithHost(lifeline io.Reader) {
	_, _ = io.Copy(io.Discard, lifeline)
	os.Exit(1)
}

// grpcPlugin is go-plugin's view of a plugin.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	impl   plugin.Plugin
	points []plugin.Point
	log    *slog.Logger
}

var _ goplugin.GRPCPlugin = (*grpcPlugin)(nil)
