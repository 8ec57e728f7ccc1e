package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Errors of calls.
var (
	// ErrNotSent: the request certainly did not reach the other side.
	ErrNotSent = errors.New("not sent")
	// ErrNoAnswer: the request may have reached the other side.
	ErrNoAnswer = errors.New("no answer")
)

// Client calls other servers, over one connection to each that is opened when it is needed
// and again after it was lost.
type Client struct {
	name string
	tls  *tls.Config
	// notice receives what others say unasked; it must not block.
	notice func(address string, body []byte)

	mu     sync.Mutex
	conns  map[string]*conn
	closed bool
	wg     sync.WaitGroup
}

// NewClient returns a client of the server called name; conf is nil for connections without
// TLS, notice may be nil.
func NewClient(name string, conf *tls.Config, notice func(address string, body []byte)) *Client {
	return &Client{name: name, tls: conf, notice: notice, conns: map[string]*conn{}}
}

// conn is one connection, or the attempt to have one.
type conn struct {
	ready chan struct{} // closed when dialled; err says whether it worked
	err   error
	net   net.Conn
	w     *frameWriter
	next  atomic.Uint64

	mu    sync.Mutex
	calls map[uint64]chan result
	lost  error
	gone  chan struct{}
}

type result struct {
	body []byte
	err  error
}

// Call sends a request to the server at address and waits for its answer. Its error is a
// *Refusal where the other side answered so, and wraps ErrNotSent, or ErrNoAnswer, else.
func (c *Client) Call(ctx context.Context, address string, kind byte, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrNotSent, len(body), MaxBody)
	}
	cn, err := c.connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w to %s: %w", ErrNotSent, address, err)
	}
	id := cn.next.Add(1)
	answer := make(chan result, 1)
	if err := cn.begin(id, answer); err != nil {
		return nil, fmt.Errorf("%w to %s: %w", ErrNotSent, address, err)
	}
	if err := cn.w.write(frame{call: id, kind: kind, body: body}); err != nil {
		cn.end(err)
	}
	select {
	case r := <-answer:
		if r.err != nil {
			var refused *Refusal
			if errors.As(r.err, &refused) {
				return nil, r.err
			}
			return nil, fmt.Errorf("%w from %s: %w", ErrNoAnswer, address, r.err)
		}
		return r.body, nil
	case <-ctx.Done():
		cn.forget(id)
		return nil, fmt.Errorf("%w from %s: %w", ErrNoAnswer, address, context.Cause(ctx))
	}
}

// Connect makes sure that there is a connection to address and returns a channel that is
// closed when it ends.
func (c *Client) Connect(ctx context.Context, address string) (gone <-chan struct{}, err error) {
	cn, err := c.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	return cn.gone, nil
}

func (c *Client) connect(ctx context.Context, address string) (*conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, net.ErrClosed
	}
	cn := c.conns[address]
	if cn == nil {
		cn = &conn{ready: make(chan struct{}), gone: make(chan struct{}), calls: map[uint64]chan result{}}
		c.conns[address] = cn
		c.wg.Go(func() { c.run(cn, address) })
	}
	c.mu.Unlock()
	select {
	case <-cn.ready:
		return cn, cn.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run dials and then reads answers until the connection ends.
func (c *Client) run(cn *conn, address string) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conns[address] == cn {
			delete(c.conns, address)
		}
	}()
	nc, err := dialMessages(context.Background(), address, c.tls, c.name) // bounded by itself
	c.mu.Lock()
	if err == nil && c.closed {
		_ = nc.Close()
		err = net.ErrClosed
	}
	if err != nil {
		// Those who come now dial anew.
		delete(c.conns, address)
		cn.err = err
		close(cn.gone)
	} else {
		cn.net, cn.w = nc, &frameWriter{w: nc}
	}
	close(cn.ready)
	c.mu.Unlock()
	if err != nil {
		return
	}
	r := bufio.NewReaderSize(nc, 32<<10)
	for {
		f, err := readFrame(r)
		if err != nil {
			c.mu.Lock()
			if c.conns[address] == cn {
				delete(c.conns, address)
			}
			c.mu.Unlock()
			cn.end(err)
			return
		}
		switch f.kind {
		case statusNotice:
			if c.notice != nil {
				c.notice(address, f.body)
			}
		case statusDone:
			cn.answer(f.call, result{body: f.body})
		default:
			cn.answer(f.call, result{err: decodeRefusal(f.body)})
		}
	}
}

func (cn *conn) begin(id uint64, answer chan result) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.lost != nil {
		return cn.lost
	}
	cn.calls[id] = answer
	return nil
}

func (cn *conn) forget(id uint64) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	delete(cn.calls, id)
}

func (cn *conn) answer(id uint64, r result) {
	cn.mu.Lock()
	answer := cn.calls[id]
	delete(cn.calls, id)
	cn.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// end gives all calls up.
func (cn *conn) end(err error) {
	_ = cn.net.Close()
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.lost != nil {
		return
	}
	cn.lost = fmt.Errorf("the connection ended: %w", err)
	close(cn.gone)
	for id, answer := range cn.calls {
		answer <- result{err: cn.lost}
		delete(cn.calls, id)
	}
}

// Close ends all connections.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for _, cn := range c.conns {
		select {
		case <-cn.ready:
			if cn.net != nil {
				_ = cn.net.Close()
			}
		default: // it sees closed when it has dialled
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
}
