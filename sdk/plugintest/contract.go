package plugintest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// ProcessCase is a plugin's program to be held to the contract.
type ProcessCase struct {
	Case
	// Command is the program, in whatever language it is written, and its arguments. It is
	// started anew for each test.
	Command []string
}

// RunProcess holds a plugin's process to the wire contract, which is written down in
// docs/plugins/other-languages.md: it refuses to be started by hand, shakes hands, talks to
// its host only, answers health checks, takes its settings and refuses bad ones, ends when it
// is told to and when its host is gone. A controller or scheduler is also held to what
// RunController and RunScheduler ask. For other points see StartProcess.
func RunProcess(t *testing.T, c ProcessCase) {
	t.Helper()
	start := func(t testing.TB) *Harness { return StartProcess(t, c.Command...) }
	t.Run("started by hand", func(t *testing.T) {
		if err := explainsItself(t, c.Command); err != nil {
			t.Error(err)
		}
	})
	// What a new process has to do, each check with one of its own.
	for _, k := range []struct {
		name  string
		check func(context.Context, *process) error
	}{
		{"health", answersHealth},
		{"strangers", refusesStrangers},
		{"refused settings", func(ctx context.Context, p *process) error { return refusesSettings(ctx, p.conn) }},
		{"shutdown", endsWhenAsked},
		{"lifeline", endsWithItsHost},
	} {
		t.Run(k.name, func(t *testing.T) {
			p, err := startProcess(t, c.Command)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), processPatience)
			defer cancel()
			if err := k.check(ctx, p); err != nil {
				t.Error(err)
			}
		})
	}
	c.runBase(t, start)
	var offered []protocol.Point
	t.Run("points", func(t *testing.T) { offered = start(t).Client.Points() })
	for _, p := range offered {
		switch p {
		case protocol.PointController:
			runs(t, c.Case, start, controllerOf)
		case protocol.PointScheduler:
			runs(t, c.Case, start, schedulerOf(c.Case))
		default: // has a suite of its own, which needs to be told what to ask
		}
	}
}

// explainsItself: a plugin that was not started by a host says so and fails.
func explainsItself(t testing.TB, command []string) error {
	cmd, err := commandOf(command, t.TempDir())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), processPatience)
	defer cancel()
	byHand := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	byHand.Dir, byHand.Env, byHand.WaitDelay = cmd.Dir, cmd.Env[:1], time.Second
	var out, errs bytes.Buffer
	byHand.Stdout, byHand.Stderr = &out, &errs
	err = byHand.Run()
	switch {
	case ctx.Err() != nil:
		return errors.New("started without PINTLE_PLUGIN in its environment it runs on; it must say that it is a plugin, and exit")
	case err == nil:
		return errors.New("started without PINTLE_PLUGIN in its environment it exits with 0; that must not look like success")
	case errs.Len() == 0:
		return fmt.Errorf("started without PINTLE_PLUGIN in its environment it says nothing on standard error (%w)", err)
	case out.Len() > 0:
		return fmt.Errorf("started without PINTLE_PLUGIN in its environment it writes to standard output: %q", out.String())
	}
	return nil
}

func answersHealth(ctx context.Context, p *process) error {
	r, err := checkHealth(ctx, p.conn)
	if err != nil {
		return fmt.Errorf("grpc.health.v1.Health/Check for service %q: %w", goplugin.GRPCServiceName, err)
	}
	if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("grpc.health.v1.Health/Check for service %q: %s", goplugin.GRPCServiceName, r.GetStatus())
	}
	return nil
}

func checkHealth(ctx context.Context, conn grpc.ClientConnInterface) (*grpc_health_v1.HealthCheckResponse, error) {
	return grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
}

// refusesStrangers: whoever gets at the socket without the host's certificate gets no answer.
func refusesStrangers(ctx context.Context, p *process) error {
	// It may only be the certificate why they are refused.
	if _, err := checkHealth(ctx, p.conn); err != nil {
		return fmt.Errorf("the host itself is refused: %w", err)
	}
	forged, err := stranger()
	if err != nil {
		return err
	}
	for who, creds := range map[string]credentials.TransportCredentials{
		"without TLS":                insecure.NewCredentials(),
		"without a certificate":      credentials.NewTLS(unverified()),
		"with another's certificate": credentials.NewTLS(unverified(forged)),
	} {
		conn, err := grpc.NewClient("unix:"+p.socket, grpc.WithTransportCredentials(creds))
		if err != nil {
			return err
		}
		_, err = checkHealth(ctx, conn)
		_ = conn.Close()
		switch {
		case err == nil:
			return fmt.Errorf("a client %s is answered; only the one with PLUGIN_CLIENT_CERT may be", who)
		case ctx.Err() != nil:
			return fmt.Errorf("a client %s is neither answered nor refused: %w", who, err)
		}
	}
	return nil
}

func unverified(certs ...tls.Certificate) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a stranger, who asks for nothing
	for _, cert := range certs {
		// Not Certificates: those that the server does not ask for would not be shown.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return c
}

// stranger makes a certificate that says what the host's says, with another key.
func stranger() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// refusesSettings: what is not even JSON is refused, and the process lives on.
func refusesSettings(ctx context.Context, conn grpc.ClientConnInterface) error {
	base := pluginv1.NewBaseClient(conn)
	_, err := base.Configure(ctx, &pluginv1.ConfigureRequest{Settings: []byte(`{"`)})
	if code := status.Code(err); code != codes.InvalidArgument && code != codes.OK {
		return fmt.Errorf("settings that are no JSON: want INVALID_ARGUMENT, got %w", err)
	}
	if _, err := base.Info(ctx, &pluginv1.InfoRequest{}); err != nil {
		return fmt.Errorf("info after settings were refused: %w", err)
	}
	return nil
}

// endsWhenAsked: go-plugin's Shutdown is answered, and the process exits.
func endsWhenAsked(ctx context.Context, p *process) error {
	// Its messages are empty, as are those of Check's request.
	in, out := &grpc_health_v1.HealthCheckRequest{}, &grpc_health_v1.HealthCheckRequest{}
	// Go plugins close the connection so soon that the answer may be lost.
	if err := p.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", in, out); err != nil && status.Code(err) != codes.Unavailable {
		return fmt.Errorf("plugin.GRPCController/Shutdown: %w", err)
	}
	return p.endsSoon("plugin.GRPCController/Shutdown")
}

// endsWithItsHost: the end of standard input means that the host is gone.
func endsWithItsHost(ctx context.Context, p *process) error {
	if _, err := checkHealth(ctx, p.conn); err != nil {
		return err
	}
	if err := p.lifeline.Close(); err != nil {
		return err
	}
	return p.endsSoon("the end of its standard input (PINTLE_PLUGIN_LIFELINE)")
}

func (p *process) endsSoon(after string) error {
	patience := time.NewTimer(Patience)
	defer patience.Stop()
	select {
	case <-p.ended:
		return nil
	case <-patience.C:
		return fmt.Errorf("the process has not ended %s after %s", Patience, after)
	}
}
