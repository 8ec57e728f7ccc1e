package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// maxOutput is how much of a command's output or an answer's body is kept.
const maxOutput = 10 << 10

// Execer runs commands in containers.
type Execer interface {
	Exec(ctx context.Context, id string, cmd []string, io driver.Stdio) (int, error)
}

// Target is the container that is asked.
type Target struct {
	// ID is the runtime's id of the container.
	ID string
	// IP of the pod.
	IP string
	// Container is the container's declaration, for the names of ports.
	Container *corev1.Container
}

// Result of one check.
type Result struct {
	OK bool
	// Message says what was wrong, for the event.
	Message string
}

// Prober makes checks.
type Prober struct {
	Exec Execer
	http *http.Client
}

// New makes a Prober.
func New(e Execer) *Prober {
	return &Prober{Exec: e, http: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // probes do not check certificates
			DisableKeepAlives: true,
			Proxy:             nil,
			DialContext:       (&net.Dialer{}).DialContext,
		},
		CheckRedirect: followSameHost,
	}}
}

// errElsewhere stops a redirect that leaves the pod.
var errElsewhere = errors.New("redirect to another host")

func followSameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return errElsewhere
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// Check makes one check with the probe's time limit. An error is returned only where the
// check could not be made at all, which says nothing about the container.
func (p *Prober) Check(ctx context.Context, probe *corev1.Probe, t Target) (Result, error) {
	limit := time.Duration(max(1, probe.TimeoutSeconds)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch {
	case probe.Exec != nil:
		return p.exec(ctx, probe.Exec.Command, t, limit)
	case probe.HTTPGet != nil:
		return p.Get(ctx, probe.HTTPGet, t)
	case probe.TCPSocket != nil:
		return tcp(ctx, probe.TCPSocket, t)
	case probe.GRPC != nil:
		return grpcHealth(ctx, probe.GRPC, t, limit)
	}
	return Result{}, fmt.Errorf("probe of container %s has no handler", t.Container.Name)
}

func (p *Prober) exec(ctx context.Context, cmd []string, t Target, limit time.Duration) (Result, error) {
	out := &Output{}
	code, err := p.Exec.Exec(ctx, t.ID, cmd, driver.Stdio{Out: out, Err: out})
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Result{Message: fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(cmd, " "), limit)}, nil
	case err != nil && ctx.Err() != nil:
		return Result{}, ctx.Err()
	case err != nil && errors.Is(err, driver.ErrNotFound):
		return Result{}, err
	case err != nil:
		return Result{Message: err.Error()}, nil //nolint:nilerr // a command that can't run is a failed probe, and says why
	}
	return Result{OK: code == 0, Message: out.String()}, nil
}

// Get makes an HTTP request as a probe or a lifecycle hook does.
func (p *Prober) Get(ctx context.Context, g *corev1.HTTPGetAction, t Target) (Result, error) {
	port, err := Port(g.Port, t.Container)
	if err != nil {
		return Result{}, err
	}
	host := g.Host
	if host == "" {
		host = t.IP
	}
	scheme := strings.ToLower(string(g.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(g.Path)
	if err != nil {
		u = &url.URL{Path: g.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Result{}, fmt.Errorf("probe of container %s: %w", t.Container.Name, err)
	}
	for _, h := range g.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", "kube-probe/1.36")
	}
	if _, ok := req.Header["Accept"]; !ok {
		req.Header.Set("Accept", "*/*")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		if errors.Is(err, errElsewhere) {
			return Result{OK: true, Message: "redirected to another host"}, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return Result{}, ctx.Err()
		}
		return Result{Message: err.Error()}, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return Result{Message: fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)}, nil
	}
	return Result{OK: true, Message: string(body)}, nil
}

func tcp(ctx context.Context, a *corev1.TCPSocketAction, t Target) (Result, error) {
	port, err := Port(a.Port, t.Container)
	if err != nil {
		return Result{}, err
	}
	host := a.Host
	if host == "" {
		host = t.IP
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return Result{}, ctx.Err()
		}
		return Result{Message: err.Error()}, nil
	}
	_ = conn.Close()
	return Result{OK: true}, nil
}

func grpcHealth(ctx context.Context, a *corev1.GRPCAction, t Target, limit time.Duration) (Result, error) {
	addr := net.JoinHostPort(t.IP, strconv.Itoa(int(a.Port)))
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("kube-probe/1.36"), grpc.WithNoProxy())
	if err != nil {
		return Result{}, fmt.Errorf("probe of container %s: %w", t.Container.Name, err)
	}
	defer conn.Close()
	req := &healthpb.HealthCheckRequest{}
	if a.Service != nil {
		req.Service = *a.Service
	}
	resp, err := healthpb.NewHealthClient(conn).Check(metadata.NewOutgoingContext(ctx, metadata.MD{}), req)
	switch {
	case err == nil && resp.GetStatus() == healthpb.HealthCheckResponse_SERVING:
		return Result{OK: true, Message: "service healthy"}, nil
	case err == nil:
		return Result{Message: fmt.Sprintf("service unhealthy (responded with %q)", resp.GetStatus())}, nil
	}
	switch status.Code(err) {
	case codes.Canceled:
		return Result{}, err
	case codes.Unimplemented:
		return Result{Message: fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %v", err)}, nil
	case codes.DeadlineExceeded:
		return Result{Message: fmt.Sprintf("timeout: health rpc did not complete within %s", limit)}, nil
	}
	return Result{Message: fmt.Sprintf("error: health rpc probe failed: %v", err)}, nil
}

// Port finds a port by number or by its name in the container.
func Port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				n = int(cp.ContainerPort)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("container %s has no port %q", c.Name, p.String())
	}
	return n, nil
}
