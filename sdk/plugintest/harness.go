package plugintest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// Patience is how long the suites wait for what should happen soon.
const Patience = 10 * time.Second

// Harness is a plugin behind gRPC, as a host sees it.
type Harness struct {
	// Client is the host's end.
	Client *remote.Client
	// Environment is what the plugin is given when it is started; tests may change it
	// with Client.SetEnvironment.
	Environment protocol.Environment

	listener *bufconn.Listener
	server   *grpc.Server
	conn     *grpc.ClientConn
	process  *process           // nil where the plugin is served in the test's process
	cut      context.CancelFunc // ends lines to a plugin in the test's process
}

// Start serves impl and connects to it, as hosts on Linux are to plugins made with this SDK: what is
// called for each request goes over lines, all else over gRPC. Its API server answers 503 to everything: a
// plugin has to bear that, and stop when it is told to. All ends with the test.
func Start(t testing.TB, impl plugin.Plugin) *Harness {
	t.Helper()
	lines := &calls.LineServer{}
	h := startWith(t, impl, points.Of(impl), lines)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	h.cut = cancel
	h.Client.UseLines(remote.LinesBy(lines.Local(ctx)), nil)
	return h
}

// placements are the ways in which the suites have a plugin called in a process.
func placements() map[string]func(testing.TB, plugin.Plugin) *Harness {
	return map[string]func(testing.TB, plugin.Plugin) *Harness{
		"process": Start,
		// As those of other languages and of older SDKs.
		"process with gRPC alone": func(t testing.TB, impl plugin.Plugin) *Harness {
			offered := points.Of(impl)
			for i := range offered {
				offered[i].Capabilities = slices.DeleteFunc(slices.Clone(offered[i].Capabilities), func(c string) bool {
					return c == protocol.CapabilityChanges
				})
			}
			return startWith(t, impl, offered, nil)
		},
	}
}

// startWith serves points of impl over gRPC, and registers their streams where lines are served.
func startWith(t testing.TB, impl plugin.Plugin, offered []plugin.Point, lines *calls.LineServer) *Harness {
	t.Helper()
	h := &Harness{listener: bufconn.Listen(1 << 20), server: grpc.NewServer(serve.ServerOptions()...)}
	log := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	registrar := grpc.ServiceRegistrar(h.server)
	if lines != nil {
		registrar = calls.Beside{ServiceRegistrar: h.server, Lines: lines}
	}
	serve.Register(registrar, impl, offered, log)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.server.Serve(h.listener)
	}()
	t.Cleanup(func() {
		h.Kill()
		<-served
	})
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return h.listener.DialContext(ctx)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes),
		))
	if err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	h.conn = conn
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if h.Client, err = remote.Connect(ctx, conn, "plugintest"); err != nil {
		t.Fatalf("plugintest: connect: %v", err)
	}
	h.Environment = environment(t)
	h.Client.SetEnvironment(h.Environment)
	return h
}

// Kill cuts the connection, as the death of the plugin's process would. Where there is a
// process, it is killed.
func (h *Harness) Kill() {
	if h.process != nil {
		h.process.kill()
	} else {
		if h.cut != nil {
			h.cut()
		}
		h.server.Stop()
	}
	if h.conn != nil {
		_ = h.conn.Close()
	}
}

// environment is what plugins under test are given.
func environment(t testing.TB) protocol.Environment {
	t.Helper()
	return protocol.Environment{
		API: protocol.Connection{Socket: unavailableAPI(t), Token: "test"}, Node: "test-node", Dir: t.TempDir(),
	}
}

// unavailableAPI returns the socket of an API server that is not there yet.
func unavailableAPI(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	srv := &http.Server{
		ReadHeaderTimeout: Patience,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","message":"not yet","code":503}`)
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return l.Addr().String()
}

// testWriter drops what plugins log, but for verbose tests.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		_, _ = os.Stderr.Write(p)
	}
	return len(p), nil
}
