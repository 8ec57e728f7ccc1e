// Package process builds programs and runs a Pintle server in a process of its own, for
// suites of clients that are modules of their own. It knows the command line and nothing of
// the API, and it requires nothing but Go, so that it changes no suite's dependencies.
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is the path of a built program: what the environment variable env names, or else
// pkg as the module in folder builds it into dir.
func Program(ctx context.Context, env, folder, pkg, dir string) (string, error) {
	if p := os.Getenv(env); p != "" {
		return filepath.Abs(p)
	}
	p := filepath.Join(dir, filepath.Base(pkg))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", p, pkg)
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s (or name a built one by %s): %w\n%s", pkg, env, err, out)
	}
	return p, nil
}

// Server is a running control plane: API server, scheduler and controllers, without a node.
type Server struct {
	dir   string
	log   log
	cmd   *exec.Cmd
	ended chan struct{}
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

// Start runs the program pintle with a data directory and a free port of its own, and
// returns when the server is ready. It ends with the test.
func Start(t *testing.T, pintle string) *Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pintle-c") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, ended: make(chan struct{})}
	config := filepath.Join(dir, "c.yaml")
	text := fmt.Sprintf("api: {listen: %q}\nnode: {enabled: false}\nplugins: [{name: scheduler}, {name: workloads}]\n", address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The test's context ends before its cleanup, which tells the server to end by itself.
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), pintle, "server", "--data-dir", filepath.Join(dir, "data"), "--config", config)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() { s.stop(t) })
	s.waitReady(t, "https://"+address+"/readyz")
	return s
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "data", "admin.kubeconfig") }

func (s *Server) waitReady(t *testing.T, url string) {
	t.Helper()
	// Who answers is proved by the kubeconfig's certificate in all requests after this one.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	Eventually(t, time.Minute, "the server is ready", func() error {
		select {
		case <-s.ended:
			t.Fatalf("the server ended:\n%s", s.log.String())
		default:
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
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

func (s *Server) stop(t *testing.T) {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
		t.Error("the server did not end within 30 seconds of SIGTERM")
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", s.log.String())
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Error(err)
	}
}

// Run runs a program to its end and returns what it wrote to its standard output, and an
// error that carries what it wrote to its standard error.
func Run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Eventually calls check until it returns no error, and fails the test with the last one
// when that takes too long.
func Eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
