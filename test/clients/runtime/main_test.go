package runtime

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

// pintle is the program under test; the environment variable PINTLE names a built one.
var pintle string

func TestMain(m *testing.M) {
	run := runAll
	if os.Getenv(envName) != "" {
		run = func(*testing.M) (int, error) { return 0, runManager() }
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtime:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "pintle-runtime")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if pintle, err = process.Program(context.Background(), "PINTLE", "../../..", "./cmd/pintle", dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// manager is an operator in a process of its own.
type manager struct {
	name, webhook, metrics, health string

	cmd   *exec.Cmd
	ended chan struct{}
}

// startManager starts one; what it says is shown when the test fails.
func startManager(t *testing.T, name, kubeconfig, certs string) *manager {
	t.Helper()
	m := &manager{name: name, webhook: freeAddress(t), metrics: freeAddress(t), health: freeAddress(t), ended: make(chan struct{})}
	_, port, err := net.SplitHostPort(m.webhook)
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Stdout, m.cmd.Stderr = said, said
	m.cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, envName+"="+name, envCerts+"="+certs,
		envWebhook+"="+port, envMetrics+"="+m.metrics, envHealth+"="+m.health)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = m.cmd.Wait(); close(m.ended) }()
	t.Cleanup(func() {
		m.end(t, syscall.SIGKILL)
		if t.Failed() {
			text, err := os.ReadFile(said.Name())
			t.Logf("manager %s (%v):\n%s", name, err, text)
		}
		_ = said.Close()
	})
	return m
}

// end ends the process by a signal and waits for it.
func (m *manager) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		t.Errorf("manager %s does not end by signal %v", m.name, sig)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// front stands in for the Service before the managers' webhooks: it forwards connections to
// the first of them that takes one.
type front struct {
	port int

	mu   sync.Mutex
	ends []string
}

func startFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &front{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.forward(c)
		}
	}()
	return f
}

func (f *front) add(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends = append(f.ends, address)
}

func (f *front) forward(c net.Conn) {
	defer c.Close()
	f.mu.Lock()
	ends := append([]string(nil), f.ends...)
	f.mu.Unlock()
	for _, address := range ends {
		to, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		done := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(to, c); done <- struct{}{} }()
		go func() { _, _ = io.Copy(c, to); done <- struct{}{} }()
		<-done
		_ = to.Close()
		return
	}
}

func (f *front) url(path string) string {
	return "https://127.0.0.1:" + strconv.Itoa(f.port) + path
}

// certificate makes a folder with a serving certificate for 127.0.0.1, and says what trusts it.
func certificate(t *testing.T) (dir string, bundle []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "widgets"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	dir = t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), bundle, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return dir, bundle
}
