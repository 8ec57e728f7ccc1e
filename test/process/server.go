package process

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Server is a control plane in a process of its own that can be ended and started again.
type Server struct {
	t *testing.T
	// Dir is the server's folder: configuration c.yaml, and data below "data".
	Dir string
	// Address is the "host:port" of its API.
	Address string

	program string
	log     log
	cmd     *exec.Cmd
	ended   chan struct{}
}

// log takes what a process says while others read it.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// FreeAddress is a "host:port" on loopback that nobody listens on now.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// New prepares a server of a program, with a data directory and a free port of its own and
// more YAML of configuration. It is not started yet; it ends with the test.
func New(t *testing.T, program, more string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle-c") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, program: program, Dir: dir, Address: FreeAddress(t), ended: make(chan struct{})}
	close(s.ended)
	s.Configure(more)
	t.Cleanup(func() {
		s.End(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the log of the server at %s:\n%s", s.Address, s.Log())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start is New and Server.Start.
func Start(t *testing.T, program, more string) *Server {
	t.Helper()
	s := New(t, program, more)
	s.Start()
	return s
}

// Configure replaces the configuration, for the next start.
func (s *Server) Configure(more string) {
	s.t.Helper()
	text := fmt.Sprintf("node: {enabled: false}\n%s", more)
	if err := os.WriteFile(filepath.Join(s.Dir, "c.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the process and returns when the server is ready.
func (s *Server) Start() {
	s.t.Helper()
	s.Launch()
	// Who answers is proved by the kubeconfig's certificate in all requests after this one.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	Eventually(s.t, time.Minute, "the server is ready", func() error {
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended:\n%s", s.Log())
		default:
		}
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+s.Address+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// Launch starts the process and does not wait until it is ready.
func (s *Server) Launch() {
	s.t.Helper()
	// The test's context ends before its cleanup, which tells the server to end by itself.
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), s.program, "server",
		"--data-dir", s.Data(), "--config", filepath.Join(s.Dir, "c.yaml"), "--api.listen", s.Address)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(s.cmd, s.ended)
}

// Ended is closed when the process has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// ExitCode is that of the process, which has ended; -1 where a signal ended it.
func (s *Server) ExitCode() int { return s.cmd.ProcessState.ExitCode() }

// Signal sends the process a signal and does not wait.
func (s *Server) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
}

// End ends the process by a signal, if it runs, and waits for it.
func (s *Server) End(sig syscall.Signal) {
	s.t.Helper()
	select {
	case <-s.ended:
		return
	default:
	}
	s.Signal(sig)
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.t.Errorf("the server did not end within 30 seconds of signal %v", sig)
	}
}

// PID of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Data is the server's data directory.
func (s *Server) Data() string { return filepath.Join(s.Dir, "data") }

// Kubeconfig is the path of the administrator's kubeconfig.
func (s *Server) Kubeconfig() string { return filepath.Join(s.Data(), "admin.kubeconfig") }

// ClientConfig is the administrator's, for clients without a limit to their requests.
func (s *Server) ClientConfig() *rest.Config {
	s.t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		s.t.Fatal(err)
	}
	c.QPS = -1
	return c
}

// Log is what the processes have said so far.
func (s *Server) Log() string { return s.log.String() }
