package main

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// proxy listens on one port and passes connections on, to one node after the other.
type proxy struct {
	listener net.Listener
	all      sync.WaitGroup

	mu      sync.Mutex
	targets []string
	next    int
	open    map[net.Conn]bool // nil when closed
}

func listen(ctx context.Context, address string, port int32) (*proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, open: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	return p, nil
}

// lead says where connections go from now on.
func (p *proxy) lead(nodes []string, nodePort int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = nil
	for _, n := range nodes {
		p.targets = append(p.targets, net.JoinHostPort(n, strconv.Itoa(int(nodePort))))
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.pass(conn) })
	}
}

const dialTimeout = 2 * time.Second

// pass passes one connection on, to the first node that takes it.
func (p *proxy) pass(conn net.Conn) {
	defer p.drop(conn)
	if !p.hold(conn) {
		return
	}
	for _, target := range p.order() {
		to, err := net.DialTimeout("tcp", target, dialTimeout)
		if err != nil {
			continue
		}
		defer p.drop(to)
		if !p.hold(to) {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { stream(to, conn) })
		both.Go(func() { stream(conn, to) })
		both.Wait()
		return
	}
}

// stream copies until from ends, and says so to the other side.
func stream(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ended shows at both ends
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

// order is all targets, each first in its turn.
func (p *proxy) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.targets) == 0 {
		return nil
	}
	p.next = (p.next + 1) % len(p.targets)
	return append(append([]string{}, p.targets[p.next:]...), p.targets[:p.next]...)
}

// hold remembers a connection, to be closed with the proxy.
func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	p.open[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// close ends all connections.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.all.Wait()
}
