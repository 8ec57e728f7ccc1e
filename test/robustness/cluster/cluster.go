package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config of a cluster.
type Config struct {
	// Dir for disks, configurations and logs.
	Dir string
	// Pintle and FaultFS are the built programs.
	Pintle, FaultFS string
	// Servers is their number.
	Servers int
	// Strict disks make nothing of a folder durable by an fsync of a file in it.
	Strict bool
	// More is appended to each server's configuration.
	More string
}

// Cluster is a number of servers that are one control plane.
type Cluster struct {
	Network *Network
	Servers []*Server

	cfg Config

	mu     sync.Mutex
	tls    *rest.Config
	client *http.Client
	deaths []error
}

// New starts a cluster and returns when every server is ready.
func New(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	c := &Cluster{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.Network, err = NewNetwork(cfg.Servers); err != nil {
		return nil, err
	}
	for i := range cfg.Servers {
		s := &Server{Index: i, Name: fmt.Sprintf("server-%d", i+1), cluster: c}
		s.dir = filepath.Join(cfg.Dir, s.Name)
		if s.Disk, err = newDisk(cfg.FaultFS, s.dir, cfg.Strict); err != nil {
			return nil, fmt.Errorf("disk of %s: %w", s.Name, err)
		}
		if err := os.WriteFile(s.clockPath(), make([]byte, 8), 0o600); err != nil {
			return nil, err
		}
		c.Servers = append(c.Servers, s)
	}
	for i, s := range c.Servers {
		token := ""
		if i > 0 {
			if token, err = c.token(ctx, c.Servers[0]); err != nil {
				return nil, err
			}
		}
		if err := s.configure(token); err != nil {
			return nil, err
		}
		if err := s.Start(); err != nil {
			return nil, err
		}
		if err := c.waitReady(ctx, s); err != nil {
			return nil, err
		}
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c, c.WaitWhole(within)
}

func (c *Cluster) waitReady(ctx context.Context, s *Server) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.WaitReady(ctx)
}

func (c *Cluster) token(ctx context.Context, from *Server) (string, error) {
	out, err := from.Run(ctx, "server", "token", "--data-dir", from.dataDir())
	return strings.TrimSpace(out), err
}

// joinURL is the API of a server that s can join through.
func (c *Cluster) joinURL(s *Server) string {
	for _, other := range c.Servers {
		if other != s && other.Running() {
			return other.URL()
		}
	}
	return c.Servers[0].URL()
}

// Replace gives a server that is down an empty disk and lets it join anew through another,
// as its operator does when a machine is lost.
func (c *Cluster) Replace(ctx context.Context, s *Server) error {
	var through *Server
	for _, other := range c.Servers {
		if other != s && other.Running() {
			through = other
		}
	}
	if through == nil {
		return errors.New("no server runs that another could join")
	}
	err := s.Disk.Offline(func(files string) error { return os.RemoveAll(filepath.Join(files, "data")) })
	if err != nil {
		return err
	}
	var token string
	for {
		if token, err = c.token(ctx, through); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err := s.configure(token); err != nil {
		return err
	}
	return s.Start()
}

// died notes that a server ended by itself.
func (c *Cluster) died(s *Server, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaths = append(c.deaths, fmt.Errorf("%s ended by itself: %w\n%s", s.Name, err, s.LogTail(40)))
}

// Deaths are the servers that ended though nothing was done to them.
func (c *Cluster) Deaths() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]error(nil), c.deaths...)
}

// admin is the cluster's own client, for asking whether servers are ready.
func (c *Cluster) admin() (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := c.newClient()
		if err != nil {
			return nil, err
		}
		c.client = client
	}
	return c.client, nil
}

// NewClient is an administrator's client with connections of its own, which notices within
// two seconds that a server does not answer any more. It sends no request twice.
func (c *Cluster) NewClient() (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newClient()
}

func (c *Cluster) newClient() (*http.Client, error) {
	if c.tls == nil {
		b, err := c.Servers[0].readFile("data/admin.kubeconfig")
		if err != nil {
			return nil, err
		}
		if c.tls, err = clientcmd.RESTConfigFromKubeConfig(b); err != nil {
			return nil, err
		}
	}
	tls, err := rest.TLSConfigFor(c.tls)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: c.Network.Dial, TLSClientConfig: tls, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 2 * time.Second, DisableCompression: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second},
	}}, nil
}

// readFile reads a file on the server's disk as its processes see it.
func (s *Server) readFile(name string) ([]byte, error) {
	s.Disk.mu.Lock()
	root := fmt.Sprintf("/proc/%d/root", s.Disk.cmd.Process.Pid)
	s.Disk.mu.Unlock()
	return os.ReadFile(filepath.Join(root, s.Disk.Mount(), name))
}

// Heal ends all faults of network and disks and lets everybody go on who was paused.
func (c *Cluster) Heal() error {
	errs := []error{c.Network.Cut(nil)}
	for _, s := range c.Servers {
		errs = append(errs, s.Disk.Set(Healthy), s.Resume())
	}
	return errors.Join(errs...)
}

// Close ends everything.
func (c *Cluster) Close() error {
	var errs []error
	for _, s := range c.Servers {
		if s.Running() {
			errs = append(errs, s.End(syscall.SIGKILL))
		}
		errs = append(errs, s.Disk.Close())
	}
	if c.Network != nil {
		errs = append(errs, c.Network.Close())
	}
	return errors.Join(errs...)
}

// Serves says whether the API lists a resource in a group's version.
func (c *Cluster) Serves(ctx context.Context, path, resource string) bool {
	var list struct {
		Resources []struct {
			Name string `json:"name"`
		} `json:"resources"`
	}
	if err := c.Servers[0].fetch(ctx, path, &list); err != nil {
		return false
	}
	for _, r := range list.Resources {
		if r.Name == resource {
			return true
		}
	}
	return false
}
