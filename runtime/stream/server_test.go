package stream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

type backend struct {
	log   string
	ended chan struct{}
}

func (b backend) Pods() []*corev1.Pod {
	return []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}}}
}
func (b backend) Container(_ context.Context, ns, pod, _, c string, previous bool) (Container, error) {
	if ns != "ns" || pod != "p" {
		return Container{}, Errorf(http.StatusNotFound, "pod %q not found", ns+"/"+pod)
	}
	if previous {
		return Container{}, Errorf(http.StatusBadRequest, "previous terminated container %q in pod %q not found", c, pod)
	}
	return Container{ID: "id", LogPath: b.log, Ended: b.ended}, nil
}
func (b backend) Running(ctx context.Context, ns, pod, uid, c string) (Container, error) {
	return b.Container(ctx, ns, pod, uid, c, false)
}
func (b backend) Sandbox(context.Context, string, string, string) (string, error) { return "sb", nil }
func (b backend) Stats(context.Context) (*statsapi.Summary, error) {
	return &statsapi.Summary{Node: statsapi.NodeStats{NodeName: "n"}}, nil
}

// streams echoes.
type streams struct{}

func (streams) Exec(_ context.Context, id string, cmd []string, s driver.Stdio) (int, error) {
	if id != "id" {
		return 0, errors.New("no such container")
	}
	switch cmd[0] {
	case "fail":
		return 7, nil
	case "size":
		z := <-s.Resize
		fmt.Fprintf(s.Out, "%dx%d tty=%v", z.Width, z.Height, s.TTY)
		return 0, nil
	}
	in, err := io.ReadAll(s.In)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(s.Out, "%v:%s", cmd, in)
	if s.Err != nil {
		io.WriteString(s.Err, "problem")
	}
	return 0, nil
}
func (streams) Attach(_ context.Context, _ string, s driver.Stdio) error {
	_, err := io.WriteString(s.Out, "attached")
	return err
}
func (streams) PortForward(_ context.Context, sb string, port int32, s io.ReadWriteCloser) error {
	defer s.Close()
	b := make([]byte, 4)
	if _, err := io.ReadFull(s, b); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s, "%s:%d:%s", sb, port, b)
	return err
}

// pki is one CA with a server and clients.
type pki struct {
	t    *testing.T
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newPKI(t *testing.T) *pki {
	p := &pki{t: t, pool: x509.NewCertPool()}
	p.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &p.key.PublicKey, p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.ca, _ = x509.ParseCertificate(der)
	p.pool.AddCert(p.ca)
	return p
}

func (p *pki) issue(name string) (certPEM, keyPEM []byte) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, &key.PublicKey, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	kb, _ := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb})
}

func (p *pki) config(name string) *rest.Config {
	c, k := p.issue(name)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ca.Raw})
	return &rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: c, KeyData: k, CAData: ca}}
}

type rig struct {
	*pki
	url string
	b   backend
}

func serve(t *testing.T) *rig {
	t.Helper()
	p := newPKI(t)
	c, k := p.issue("node")
	cert, err := tls.X509KeyPair(c, k)
	if err != nil {
		t.Fatal(err)
	}
	b := backend{log: filepath.Join(t.TempDir(), "0.log"), ended: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Backend: b, Streams: streams{}, Cert: &cert, CA: p.pool, Log: slog.New(slog.DiscardHandler), Allow: func(c *x509.Certificate) bool { return c.Subject.CommonName == "api" }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &rig{pki: p, url: "https://" + l.Addr().String(), b: b}
}

func (r *rig) get(t *testing.T, cfg *rest.Config, path string) (int, string) {
	t.Helper()
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestWhoIsLetIn(t *testing.T) {
	r := serve(t)
	nobody := r.config("api")
	nobody.CertData, nobody.KeyData = nil, nil
	for _, c := range []struct {
		cfg  *rest.Config
		code int
	}{{r.config("api"), 200}, {r.config("mallory"), 403}, {nobody, 401}} {
		for _, path := range []string{"/healthz", "/pods"} {
			if code, body := r.get(t, c.cfg, path); code != c.code {
				t.Errorf("%s: %d %s, want %d", path, code, body, c.code)
			}
		}
	}
	stranger := newPKI(t).config("api")
	stranger.CAData = r.config("api").CAData
	c, _ := rest.HTTPClientFor(stranger)
	if resp, err := c.Get(r.url + "/healthz"); err == nil {
		t.Errorf("another CA's certificate gave %d", resp.StatusCode)
	}
}

func TestLogs(t *testing.T) {
	r := serve(t)
	w, err := logs.NewWriter(r.b.log, logs.WriterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"one", "two", "three"} {
		w.WriteLine(logs.Stdout, []byte(l), false)
	}
	api := r.config("api")
	for path, want := range map[string]string{
		"/containerLogs/ns/p/c":                  "200 one\ntwo\nthree\n",
		"/containerLogs/ns/p/c?tailLines=1":      "200 three\n",
		"/containerLogs/ns/p/c?limitBytes=5":     "200 one\nt",
		"/containerLogs/ns/p/c?sinceSeconds=600": "200 one\ntwo\nthree\n",
		"/containerLogs/ns/p/c?stream=Stderr":    "200 ",
		"/containerLogs/ns/p/c?previous=true":    "400 previous terminated container \"c\" in pod \"p\" not found\n",
		"/containerLogs/ns/p/c?tailLines=x":      "400 tailLines: \"x\" is not a number of 0 or more\n",
		"/containerLogs/ns/p/c?follow=perhaps":   "400 follow: \"perhaps\" is neither true nor false\n",
		"/containerLogs/ns/none/c":               "404 pod \"ns/none\" not found\n",
	} {
		if code, body := r.get(t, api, path); fmt.Sprintf("%d %s", code, body) != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	// Following ends when the container does, with everything read.
	c, _ := rest.HTTPClientFor(api)
	resp, err := c.Get(r.url + "/containerLogs/ns/p/c?follow=true&tailLines=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, len("three\n"))
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "three\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	w.WriteLine(logs.Stderr, []byte("last"), false)
	close(r.b.ended)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "last\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// Both protocols of exec, as old and new clients speak them.
func TestExec(t *testing.T) {
	r := serve(t)
	api := r.config("api")
	execURL := func(q string) *url.URL {
		u, err := url.Parse(r.url + "/exec/ns/p/c?" + q)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	spdyExec := func(u *url.URL) (remotecommand.Executor, error) { return remotecommand.NewSPDYExecutor(api, "POST", u) }
	wsExec := func(u *url.URL) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutorForProtocols(api, "GET", u.String(), "v4.channel.k8s.io")
	}
	for name, make := range map[string]func(*url.URL) (remotecommand.Executor, error){"spdy": spdyExec, "websocket": wsExec} {
		t.Run(name, func(t *testing.T) {
			run := func(q string, o remotecommand.StreamOptions) error {
				e, err := make(execURL(q))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				return e.StreamWithContext(ctx, o)
			}
			if name == "spdy" { // over WebSocket the end of input is a v5 matter
				var out, errOut bytes.Buffer
				err := run("command=a&command=b&input=1&output=1&error=1", remotecommand.StreamOptions{Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &errOut})
				if err != nil || out.String() != "[a b]:in" || errOut.String() != "problem" {
					t.Errorf("%v, %q, %q", err, out.String(), errOut.String())
				}
			}
			var out bytes.Buffer
			err := run("command=fail&output=1", remotecommand.StreamOptions{Stdout: &out})
			var exit utilexec.CodeExitError
			if !errors.As(err, &exit) || exit.Code != 7 {
				t.Errorf("exit code: %v", err)
			}
			err = run("command=size&output=1&tty=1", remotecommand.StreamOptions{Stdout: &out, Tty: true, TerminalSizeQueue: &oneSize{}})
			if err != nil || out.String() != "80x24 tty=true" {
				t.Errorf("terminal: %v, %q", err, out.String())
			}
		})
	}
	if code, body := r.get(t, api, "/exec/ns/p/c?output=1"); code != 400 || !strings.Contains(body, "at least one command") {
		t.Errorf("without a command: %d %s", code, body)
	}
	e, _ := remotecommand.NewSPDYExecutor(api, "POST", func() *url.URL { u, _ := url.Parse(r.url + "/attach/ns/p/c?output=1"); return u }())
	var out bytes.Buffer
	if err := e.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdout: &out}); err != nil || out.String() != "attached" {
		t.Errorf("attach: %v, %q", err, out.String())
	}
}

type oneSize struct{ done bool }

func (o *oneSize) Next() *remotecommand.TerminalSize {
	if o.done {
		return nil
	}
	o.done = true
	return &remotecommand.TerminalSize{Width: 80, Height: 24}
}

func TestPortForward(t *testing.T) {
	r := serve(t)
	rt, up, err := spdy.RoundTripperFor(r.config("api"))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(r.url + "/portForward/ns/p")
	stop, ready := make(chan struct{}), make(chan struct{})
	fw, err := portforward.New(spdy.NewDialer(up, &http.Client{Transport: rt}, "POST", u), []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- fw.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := fw.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "ping")
		b, _ := io.ReadAll(conn)
		conn.Close()
		if string(b) != "sb:8080:ping" {
			t.Errorf("%q", b)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
