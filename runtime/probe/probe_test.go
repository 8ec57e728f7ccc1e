package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

type execer func(ctx context.Context, cmd []string, out io.Writer) (int, error)

func (e execer) Exec(ctx context.Context, _ string, cmd []string, s driver.Stdio) (int, error) {
	return e(ctx, cmd, s.Out)
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(p)
	return n
}

func TestExec(t *testing.T) {
	for _, c := range []struct {
		name string
		e    execer
		ok   bool
		msg  string
		err  bool
	}{
		{"zero", func(context.Context, []string, io.Writer) (int, error) { return 0, nil }, true, "", false},
		{"not zero", func(_ context.Context, _ []string, w io.Writer) (int, error) {
			io.WriteString(w, "sick")
			return 1, nil
		}, false, "sick", false},
		{"too slow", func(ctx context.Context, _ []string, _ io.Writer) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, false, "timed out after 1s", false},
		{"not to be started", func(context.Context, []string, io.Writer) (int, error) { return 0, errors.New("no such file") }, false, "no such file", false},
		{"container gone", func(context.Context, []string, io.Writer) (int, error) { return 0, driver.ErrNotFound }, false, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
			r, err := New(c.e).Check(context.Background(), p, Target{Container: &corev1.Container{}})
			if r.OK != c.ok || !strings.Contains(r.Message, c.msg) || (err != nil) != c.err {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "me" && r.Header.Get("X-A") == "1" && r.URL.RawQuery == "q=1" && strings.HasPrefix(r.UserAgent(), "kube-probe/") {
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	})
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secure.Close()
	headers := []corev1.HTTPHeader{{Name: "Host", Value: "me"}, {Name: "X-A", Value: "1"}}
	for _, c := range []struct {
		path   string
		secure bool
		ok     bool
		msg    string
	}{
		{"/ok?q=1", false, true, ""}, {"/ok?q=1", true, true, ""}, {"/bad", false, false, "statuscode: 500"},
		{"/none", false, false, "404"}, {"/moved", false, false, "500"}, {"/away", false, true, "another host"},
	} {
		srv, g := plain, &corev1.HTTPGetAction{Path: c.path, HTTPHeaders: headers, Port: intstr.FromString("web")}
		if c.secure {
			srv, g.Scheme = secure, corev1.URISchemeHTTPS
		}
		ctr := &corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(portOf(t, srv.Listener.Addr().String()))}}}
		r, err := New(nil).Check(context.Background(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: g}}, Target{IP: "127.0.0.1", Container: ctr})
		if err != nil || r.OK != c.ok || !strings.Contains(r.Message, c.msg) {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
	}
	_, err := New(nil).Check(context.Background(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("nope")}}}, Target{Container: &corev1.Container{Name: "c"}})
	if err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("an unknown port gave %v", err)
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := intstr.FromInt(portOf(t, l.Addr().String()))
	check := func() Result {
		r, err := New(nil).Check(context.Background(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}, Target{IP: "127.0.0.1", Container: &corev1.Container{}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(); !r.OK {
		t.Errorf("open: %+v", r)
	}
	l.Close()
	if r := check(); r.OK || !strings.Contains(r.Message, "refused") {
		t.Errorf("closed: %+v", r)
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, h := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	h.SetServingStatus("sick", healthpb.HealthCheckResponse_NOT_SERVING)
	go srv.Serve(l)
	defer srv.Stop()
	bare := grpc.NewServer()
	bl, _ := net.Listen("tcp", "127.0.0.1:0")
	go bare.Serve(bl)
	defer bare.Stop()
	sick := "sick"
	for _, c := range []struct {
		addr    string
		service *string
		ok      bool
		msg     string
	}{
		{l.Addr().String(), nil, true, ""}, {l.Addr().String(), &sick, false, "NOT_SERVING"}, {bl.Addr().String(), nil, false, "does not implement"},
	} {
		p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(portOf(t, c.addr)), Service: c.service}}}
		r, err := New(nil).Check(context.Background(), p, Target{IP: "127.0.0.1", Container: &corev1.Container{}})
		if err != nil || r.OK != c.ok || !strings.Contains(r.Message, c.msg) {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
	}
}
