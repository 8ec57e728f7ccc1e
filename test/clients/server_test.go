package clients

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// pintle is the program under test; TestMain builds it.
var pintle string

var built = flag.String("pintle", "", "a built pintle to test instead of one built now")

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	if *built != "" {
		path, err := filepath.Abs(*built)
		pintle = path
		if err != nil {
			return 0, err
		}
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "pintle-clients")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	pintle = filepath.Join(dir, "pintle")
	// As the Makefile does, so that pintle kubectl knows its version.
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubectl").Output()
	if err != nil {
		return 0, fmt.Errorf("version of kubectl: %w", err)
	}
	flags := "-s -w -X k8s.io/component-base/version.gitVersion=v1" + strings.TrimPrefix(strings.TrimSpace(string(version)), "v0")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", flags, "-o", pintle, "../../cmd/pintle")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// server is a control plane in a process of its own that can be ended and started again.
type server struct {
	t         *testing.T
	dir, port string
	log       bytes.Buffer
	cmd       *exec.Cmd
	ended     chan struct{}
}

// startServer starts a control plane with more configuration; it ends with the test.
func startServer(t *testing.T, more string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pintle-c") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, port: port}
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("api: {listen: \"127.0.0.1:"+port+"\"}\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.Bytes())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts the process and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(pintle, "server", "--data-dir", filepath.Join(s.dir, "data"), "--config", filepath.Join(s.dir, "c.yaml"))
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	s.ended = ended
	cmd := s.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	eventually(s.t, 30*time.Second, "the server is ready", func() error {
		select {
		case <-ended:
			s.t.Fatalf("the server ended:\n%s", s.log.Bytes())
		default:
		}
		c, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig())
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(c)
		if err != nil {
			return err
		}
		_, err = client.RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
		return err
	})
}

// end ends the process by a signal, if it runs, and waits for it.
func (s *server) end(sig syscall.Signal) {
	s.t.Helper()
	select {
	case <-s.ended:
		return
	default:
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("the server did not end by signal %v", sig)
		<-s.ended
	}
}

func (s *server) kubeconfig() string { return filepath.Join(s.dir, "data", "admin.kubeconfig") }

// config is the administrator's, without a limit of its own.
func (s *server) config() *rest.Config {
	s.t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig())
	if err != nil {
		s.t.Fatal(err)
	}
	c.QPS = -1
	return c
}

// eventually calls check until it returns no error.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
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
