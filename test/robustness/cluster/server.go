package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is one server: a site, a disk and, while it runs, a process.
type Server struct {
	// Index among the servers, and Name in the cluster.
	Index int
	Name  string
	Disk  *Disk

	cluster *Cluster
	dir     string

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{}
	paused bool
	// mayEnd is set while the process is expected to end by itself.
	mayEnd bool
	starts int
}

// Address is the API's "host:port".
func (s *Server) Address() string { return address(s.Index) + ":6443" }

// URL of the API.
func (s *Server) URL() string { return "https://" + s.Address() }

// dataDir as the server sees it.
func (s *Server) dataDir() string { return filepath.Join(s.Disk.Mount(), "data") }

func (s *Server) logPath() string { return filepath.Join(s.cluster.cfg.Dir, s.Name+".log") }

// configure writes the configuration; token is empty for the first server.
func (s *Server) configure(token string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "api: {listen: %q}\nplugins: []\nnode: {enabled: false}\n", s.Address())
	if len(s.cluster.Servers) > 1 {
		fmt.Fprintf(&b, "name: %s\ncluster:\n  listen: %q\n", s.Name, address(s.Index)+":6445")
		if token != "" {
			fmt.Fprintf(&b, "  join: %q\n  token: %q\n", s.cluster.joinURL(s), token)
		}
	}
	b.WriteString(s.cluster.cfg.More)
	return os.WriteFile(s.configPath(), []byte(b.String()), 0o600)
}

func (s *Server) configPath() string { return filepath.Join(s.dir, "pintle.yaml") }

// Start starts the process and returns at once.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		select {
		case <-s.ended:
		default:
			return fmt.Errorf("%s runs already", s.Name)
		}
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.starts++
	if _, err := fmt.Fprintf(log, "=== start %d of %s at %s\n", s.starts, s.Name, time.Now().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	cmd, err := command(s.cluster.Network.sites[s.Index], s.Disk.mountNamespace(), []string{ClockEnv + "=" + s.clockPath()},
		s.cluster.cfg.Pintle, "server", "--data-dir", s.dataDir(), "--config", s.configPath())
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.cmd, s.ended, s.paused, s.mayEnd = cmd, ended, false, false
	go func() {
		err := cmd.Wait()
		s.mu.Lock()
		unexpected := !s.mayEnd
		s.mu.Unlock()
		close(ended)
		if unexpected {
			s.cluster.died(s, err)
		}
	}()
	return nil
}

// Running says whether there is a process.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// MayEnd says that the process may end by itself from now on, as on a broken disk.
func (s *Server) MayEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mayEnd = true
}

// End sends a signal that ends the process, and waits for its end.
func (s *Server) End(sig syscall.Signal) error {
	s.mu.Lock()
	if s.cmd == nil {
		s.mu.Unlock()
		return nil
	}
	s.mayEnd = true
	cmd, ended, paused := s.cmd, s.ended, s.paused
	s.mu.Unlock()
	if paused {
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(30 * time.Second):
	}
	// Its goroutines tell why.
	_ = cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
	return fmt.Errorf("%s did not end within 30 s of %v", s.Name, sig)
}

// Pause stops the process without its knowing, until Resume.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP, true) }

// Resume lets it go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT, false) }

func (s *Server) signal(sig syscall.Signal, paused bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	s.paused = paused
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// WaitReady waits until the server says that it is ready.
func (s *Server) WaitReady(ctx context.Context) error {
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		if !s.Running() {
			return fmt.Errorf("%s ended before it was ready:\n%s", s.Name, s.LogTail(20))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", s.Name, err, s.LogTail(20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) ready(ctx context.Context) error {
	c, err := s.cluster.admin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", resp.Status)
	}
	return nil
}

// Run runs a command of pintle at this server's site.
func (s *Server) Run(ctx context.Context, args ...string) (string, error) {
	cmd, err := command(s.cluster.Network.sites[s.Index], s.Disk.mountNamespace(), nil, s.cluster.cfg.Pintle, args...)
	if err != nil {
		return "", err
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("pintle %s: %w: %s", strings.Join(args, " "), err, log.Bytes())
	}
	return out.String(), nil
}

// LogTail is the last lines of its log.
func (s *Server) LogTail(lines int) string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LogContains says whether its log has the text.
func (s *Server) LogContains(text string) bool {
	b, _ := os.ReadFile(s.logPath())
	return bytes.Contains(b, []byte(text))
}

// NewState says whether the state that the server has is not the one it began with: it was so
// late, or so damaged, that another one was sent, which comes without history.
func (s *Server) NewState() bool {
	states, err := filepath.Glob(filepath.Join(s.Disk.Files(), "data", "store", "state-*"))
	return err != nil || len(states) != 1 || filepath.Base(states[0]) != "state-000001"
}
