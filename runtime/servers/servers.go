// Package servers lets a node reach its cluster by any of the API servers: connections go to
// the one that answered last, and to the next one when it no longer does.
//
// It knows addresses and connections. It must not know what is said over them.
package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Name is in the certificate of every API server: who may reach any of them checks this one
// instead of an address.
const Name = "kubernetes.default.svc"

const (
	// dialTimeout is how long one server may take to accept a connection.
	dialTimeout = 3 * time.Second
	// refreshInterval is how often the list is read again, and retryInterval after a failure.
	refreshInterval = time.Minute
	retryInterval   = 5 * time.Second
	refreshTimeout  = 10 * time.Second
)

// Config of a List.
type Config struct {
	// First is the "host:port" of the server to try first, the one known without asking.
	First string
	// File keeps the others across restarts; empty keeps nothing.
	File string
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// List is the servers of a cluster as a node knows them.
type List struct {
	cfg Config
	log *slog.Logger

	mu        sync.Mutex
	addresses []string // First and then the others
	good      string   // answered last
}

// New returns the list that the file has, or only First.
func New(cfg Config) (*List, error) {
	l := &List{cfg: cfg, log: cfg.Logger, addresses: []string{cfg.First}, good: cfg.First}
	if l.log == nil {
		l.log = slog.Default()
	}
	if cfg.File == "" {
		return l, nil
	}
	b, err := os.ReadFile(cfg.File)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("addresses of the servers: %w", err)
	}
	var kept []string
	if err := json.Unmarshal(b, &kept); err != nil {
		// It is only what the API says, of some time ago.
		l.log.Warn("The kept addresses of the servers are not readable", "file", cfg.File, "error", err)
		return l, nil
	}
	l.set(kept)
	return l, nil
}

func (l *List) set(addresses []string) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []string{l.cfg.First}
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	slices.Sort(all[1:])
	changed = !slices.Equal(all, l.addresses)
	l.addresses = all
	return changed
}

// Addresses in the order in which they are tried.
func (l *List) Addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := max(slices.Index(l.addresses, l.good), 0)
	return append(slices.Clone(l.addresses[at:]), l.addresses[:at]...)
}

// Dial connects to the server that answered last or else to the next one that accepts. The
// address it is given is that of any of them.
func (l *List) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var errs []error
	for _, address := range l.Addresses() {
		d := net.Dialer{Timeout: dialTimeout}
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			l.mu.Lock()
			if l.good != address {
				l.log.Info("Reaching the API by another server", "address", address)
				l.good = address
			}
			l.mu.Unlock()
			return c, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("no API server accepts connections: %w", errors.Join(errs...))
}

// Keep asks fetch for the servers' addresses from time to time, until ctx ends.
func (l *List) Keep(ctx context.Context, fetch func(context.Context) ([]string, error)) {
	for {
		wait := refreshInterval
		if err := l.refresh(ctx, fetch); err != nil {
			l.log.Debug("The list of servers is as old as it was", "error", err)
			wait = retryInterval
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func (l *List) refresh(ctx context.Context, fetch func(context.Context) ([]string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	addresses, err := fetch(ctx)
	if err != nil {
		return err
	}
	if len(addresses) == 0 || !l.set(addresses) || l.cfg.File == "" {
		return nil
	}
	b, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	return replaceFile(l.cfg.File, b)
}

func replaceFile(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Forward takes connections from listener, which is closed in the end, to any of the servers:
// for those who know one address only. What is said goes through as it is.
func (l *List) Forward(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("forwarding to the API servers: %w", err)
		}
		wg.Go(func() { l.forward(ctx, c) })
	}
}

func (l *List) forward(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := l.Dial(ctx, "", "")
	if err != nil {
		l.log.Debug("A connection to the API is refused", "error", err)
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { pipe(far, near) })
	pipe(near, far)
	wg.Wait()
}

// pipe copies until the end and passes that on; an error ends both ways.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
	_ = from.Close()
}
