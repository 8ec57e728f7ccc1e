package plugintest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// What the test binary does in the place of a plugin, named by its argument.
var roles = map[string]func(){
	"good": serveIdler,
	"deaf": func() {
		_ = os.Unsetenv(protocol.LifelineEnv)
		serveIdler()
	},
	"stubborn": func() {
		serveIdler()
		select {}
	},
	"elsewhere": func() {
		_ = os.Unsetenv("PLUGIN_UNIX_SOCKET_DIR")
		serveIdler()
	},
	"plain": func() {
		_ = os.Unsetenv("PLUGIN_CLIENT_CERT")
		serveIdler()
	},
	"trusting": func() { serveByHand(true) },
	"sick":     func() { serveByHand(false) },
	"silent":   func() { os.Exit(1) },
	"pleased":  func() { fmt.Fprintln(os.Stderr, "I am a plugin") },
}

// TestMain lets the test binary play a plugin.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if role, ok := roles[os.Args[1]]; ok {
			role()
			return
		}
	}
	os.Exit(m.Run())
}

type idler struct{}

func (idler) Info() plugin.Info                       { return plugin.Info{Name: "idler", Version: "1"} }
func (idler) ConfigSchema() []byte                    { return []byte(`{"type":"object"}`) }
func (idler) Configure(context.Context, []byte) error { return nil }
func (idler) Run(ctx context.Context, _ plugin.Env) error {
	<-ctx.Done()
	return ctx.Err()
}

func serveIdler() { serve.Serve(idler{}, controller.Point(idler{})) }

// serveByHand takes every client, whatever its certificate, and answers health checks or not.
func serveByHand(well bool) {
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		panic(err)
	}
	cert, err := stranger()
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})))
	if well {
		h := health.NewServer()
		h.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(s, h)
	}
	fmt.Printf("1|1|unix|%s|grpc|%s\n", socket, base64.RawStdEncoding.EncodeToString(cert.Certificate[0]))
	if err := s.Serve(l); err != nil {
		panic(err)
	}
}

func playing(t *testing.T, role string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, role}
}

func TestProcess(t *testing.T) {
	RunProcess(t, ProcessCase{Command: playing(t, "good")})
}

// A suite for a point takes a process as well as a value.
func TestProcessInASuite(t *testing.T) {
	RunController(t, ControllerCase{New: func() controller.Controller {
		c, ok := StartProcess(t, playing(t, "good")...).Client.Controller()
		if !ok {
			t.Fatal("no controller")
		}
		return c
	}})
}

func TestKillEndsAProcess(t *testing.T) {
	h := StartProcess(t, playing(t, "good")...)
	h.Kill()
	if err := h.Client.Configure(t.Context(), nil); err == nil {
		t.Error("it answers")
	}
}

func TestRunProcessFindsWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		role  string
		check func(context.Context, *process) error
		want  string
	}{
		{"deaf", endsWithItsHost, "has not ended"},
		{"stubborn", endsWhenAsked, "has not ended"},
		{"trusting", refusesStrangers, "is answered"},
		{"sick", answersHealth, "Unimplemented"},
	} {
		t.Run(tc.role, func(t *testing.T) {
			t.Parallel()
			p, err := startProcess(t, playing(t, tc.role))
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.check(t.Context(), p); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	for role, want := range map[string]string{
		"elsewhere": "no socket in the directory that it was given",
		"plain":     "certificate",
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			p, err := startProcess(t, playing(t, role))
			if err == nil {
				err = answersHealth(t.Context(), p)
			}
			if err == nil || (!strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "tls")) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	for role, want := range map[string]string{
		"silent": "says nothing", "pleased": "exits with 0",
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			if err := explainsItself(t, playing(t, role)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
