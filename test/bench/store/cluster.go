package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pintle-dev/pintle/test/bench/store/measure"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	// connections are what the client of one side uses at most.
	connections = 8
)

// cluster is the processes of one side and the connections to its leader.
type cluster struct {
	name    string
	dirs    []string
	procs   []*exec.Cmd
	pids    []int
	clients []*clientv3.Client
	// driver is the store's first member.
	driver *driver
	// objects says that values are like objects rather than random.
	objects bool
}

// startStore starts members of one of the store's sides, from this binary; profile, where set,
// gets the CPU profile of the first.
func startStore(ctx context.Context, name, dir string, members int, profile string) (c *cluster, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c = &cluster{name: name}
	defer func() { err = c.failed(err) }()
	addresses, err := freeAddresses(2 * members)
	if err != nil {
		return c, err
	}
	listen, peers := addresses[:members], addresses[members:]
	for i := range members {
		data := filepath.Join(dir, fmt.Sprint(name, "-", i))
		args := []string{"serve", "-dir", data, "-listen", listen[i], "-peer", peers[i]}
		if i == 0 {
			args = append(args, "-bootstrap")
			if name == inProcess {
				args = append(args, "-drive")
			}
			if profile != "" {
				args = append(args, "-cpuprofile", fmt.Sprintf("%s.%d", profile, members))
			}
		}
		if err := c.start(data, self, args...); err != nil {
			return c, err
		}
	}
	first, err := c.leader(ctx, listen[:1])
	if err != nil {
		return c, err
	}
	for _, p := range peers[1:] {
		if err := addMember(ctx, first, p); err != nil {
			return c, err
		}
	}
	return c, c.connect(first)
}

// addMember waits until the new voter listens: the leader would retry with a growing pause.
func addMember(ctx context.Context, leader, peer string) error {
	client, err := newClient(leader)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", peer)
		if err == nil {
			if err := conn.Close(); err != nil {
				return err
			}
			break
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for %s to listen: %w", peer, err)
		}
	}
	if _, err := client.MemberAdd(ctx, []string{"http://" + peer}); err != nil {
		return fmt.Errorf("adding voter %s: %w", peer, err)
	}
	return nil
}

// startEtcd starts members of etcd with its defaults, but for a quota that the work does
// not reach.
func startEtcd(ctx context.Context, binary, dir string, members int) (c *cluster, err error) {
	c = &cluster{name: "etcd"}
	defer func() { err = c.failed(err) }()
	addresses, err := freeAddresses(2 * members)
	if err != nil {
		return c, err
	}
	listen, peers := addresses[:members], addresses[members:]
	var initial []string
	for i := range members {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	for i := range members {
		data := filepath.Join(dir, fmt.Sprint("etcd-", i))
		err := c.start(data, binary, "--name", fmt.Sprint("m", i), "--data-dir", data, "--log-level", "fatal",
			"--listen-client-urls", "http://"+listen[i], "--advertise-client-urls", "http://"+listen[i],
			"--listen-peer-urls", "http://"+peers[i], "--initial-advertise-peer-urls", "http://"+peers[i],
			"--initial-cluster", strings.Join(initial, ","), "--quota-backend-bytes", fmt.Sprint(8<<30))
		if err != nil {
			return c, err
		}
	}
	first, err := c.leader(ctx, listen)
	if err != nil {
		return c, err
	}
	return c, c.connect(first)
}

// failed stops what was started where a start ends in an error.
func (c *cluster) failed(err error) error {
	if err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", c.name, err), c.stop())
	}
	return nil
}

func (c *cluster) start(data, binary string, args ...string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	cmd := exec.Command(binary, args...) //nolint:noctx // stop ends it, gently first
	cmd.Stderr = os.Stderr
	if slices.Contains(args, "-drive") {
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		c.driver = &driver{json.NewEncoder(in), json.NewDecoder(out)}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.dirs = append(c.dirs, data)
	c.procs = append(c.procs, cmd)
	c.pids = append(c.pids, cmd.Process.Pid)
	return nil
}

// leader waits until one of the members leads and says which: everything is asked of it on
// both sides, because the store's followers do not forward.
func (c *cluster) leader(ctx context.Context, addresses []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		for _, a := range addresses {
			client, err := newClient(a)
			if err != nil {
				return "", err
			}
			asked, done := context.WithTimeout(ctx, time.Second)
			st, err := client.Status(asked, "http://"+a)
			done()
			if closeErr := client.Close(); closeErr != nil {
				return "", closeErr
			}
			if err == nil && st.Leader != 0 && st.Leader == st.Header.MemberId {
				return a, nil
			}
		}
		if err := pause(ctx); err != nil {
			return "", fmt.Errorf("nobody leads among %v: %w", addresses, err)
		}
	}
}

func (c *cluster) connect(address string) error {
	for range connections {
		client, err := newClient(address)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, client)
	}
	return nil
}

func newClient(address string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: []string{"http://" + address}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// raftIndex is how far the log has grown.
func (c *cluster) raftIndex(ctx context.Context) (uint64, error) {
	st, err := c.clients[0].Status(ctx, c.clients[0].Endpoints()[0])
	if err != nil {
		return 0, err
	}
	return st.RaftIndex, nil
}

// usage is what the processes of one side have used until now.
type usage struct {
	CPUSeconds   float64 `json:"cpuSeconds"`
	PSSBytes     int64   `json:"pssBytes"`
	PeakPSSBytes int64   `json:"peakPssBytes"`
	// AnonymousBytes are those of PSSBytes that are not pages of files.
	AnonymousBytes int64 `json:"anonymousBytes"`
	DiskBytes      int64 `json:"diskBytes"`
	WrittenBytes   int64 `json:"writtenBytes"`
}

func (c *cluster) usage() (u usage, err error) {
	cpu, err := measure.CPU(c.pids...)
	if err != nil {
		return u, err
	}
	u.CPUSeconds = cpu.Seconds()
	if u.PSSBytes, err = measure.PSS(c.pids...); err != nil {
		return u, err
	}
	if u.AnonymousBytes, err = measure.Anonymous(c.pids...); err != nil {
		return u, err
	}
	if u.WrittenBytes, err = measure.Written(c.pids...); err != nil {
		return u, err
	}
	u.DiskBytes, err = measure.Disk(c.dirs...)
	return u, err
}

func (c *cluster) stop() error {
	var errs []error
	for _, client := range c.clients {
		errs = append(errs, client.Close())
	}
	for _, p := range c.procs {
		errs = append(errs, p.Process.Signal(syscall.SIGTERM))
	}
	for _, p := range c.procs {
		late := time.AfterFunc(stopTimeout, func() { _ = p.Process.Kill() })
		err := p.Wait()
		late.Stop()
		// How a process ended that was told to matters to nobody here.
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// freeAddresses finds loopback addresses nobody listens on at the moment.
func freeAddresses(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // there is nothing to wait for
		if err != nil {
			return nil, err
		}
		// Held until all are found, so that they differ.
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
