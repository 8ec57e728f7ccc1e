package host

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// APIService is a plugin that serves versions of API groups. It stays valid when the plugin
// restarts.
type APIService interface {
	// Dial opens a connection to the plugin's handler, on which HTTP/1.1 is spoken. It fails at
	// once where the plugin is away.
	Dial(ctx context.Context) (net.Conn, error)
	// State returns why the plugin is away, nil where it is not, and a channel that is closed
	// when that has changed.
	State() (changed <-chan struct{}, away error)
}

// apiServiceHolder is an API service whose plugin may come and go.
type apiServiceHolder struct {
	supervisor *supervisor
	offered    []apiservice.GroupVersion // taken by OnAPIService; only the session's goroutine looks
	open       openings[serving]

	mu      sync.Mutex
	dial    func(context.Context) (net.Conn, error) // nil where the plugin is away
	calls   *underway                               // connections made by dial
	before  []*underway                             // those of earlier ones
	changed chan struct{}
}

// serviceDrain bounds the time in which connections to an API service may end that gets no more
// of them, as watches last longer than any grace. Clients take those up again.
const serviceDrain = 3 * time.Second

// serving is what one instance of the plugin serves, and the way to it.
type serving struct {
	versions []apiservice.GroupVersion
	dial     func(context.Context) (net.Conn, error)
}

var _ APIService = (*apiServiceHolder)(nil)

func newAPIServiceHolder(s *supervisor) *apiServiceHolder {
	return &apiServiceHolder{supervisor: s, changed: make(chan struct{})}
}

func (a *apiServiceHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	config := &a.supervisor.host.config
	if config.OnAPIService == nil {
		return fmt.Errorf("it offers point %q, which this host has no use for", protocol.PointAPIService)
	}
	serving, err := a.open.attach(ctx, g, config.CallTimeout, failed, func(life context.Context) (serving, <-chan struct{}, error) {
		return openAPIService(life, g)
	})
	if err != nil {
		return fmt.Errorf("API service: %w", err)
	}
	if !slices.Equal(serving.versions, a.offered) {
		if err := config.OnAPIService(a.supervisor.spec.Name, serving.versions, a); err != nil {
			return fmt.Errorf("what it serves was not accepted: %w", err)
		}
		a.offered = serving.versions
	}
	a.set(serving.dial)
	return nil
}

// forget takes back what the plugin served, as it is no longer in the catalogue.
func (a *apiServiceHolder) forget() error {
	if a.offered == nil {
		return nil
	}
	a.offered = nil
	return a.supervisor.host.config.OnAPIService(a.supervisor.spec.Name, nil, a)
}

// openAPIService lets the plugin serve until ctx is done.
func openAPIService(ctx context.Context, g *guest) (serving, <-chan struct{}, error) {
	if g.client != nil {
		svc, ok := g.client.APIService()
		if !ok {
			return serving{}, nil, fmt.Errorf("it does not offer point %q", protocol.PointAPIService)
		}
		versions, gone, err := svc.Open(ctx)
		return serving{versions, svc.Dial}, gone, err
	}
	impl, ok := g.base.(apiservice.APIService)
	if !ok {
		return serving{}, nil, fmt.Errorf("it offers point %q and is no API service", protocol.PointAPIService)
	}
	versions := impl.GroupVersions()
	if err := remote.CheckGroupVersions(versions); err != nil {
		return serving{}, nil, err
	}
	handler, err := impl.Serve(ctx, g.env)
	if err != nil {
		return serving{}, nil, err
	}
	server := apiservice.NewServer(handler)
	gone := make(chan struct{})
	context.AfterFunc(ctx, func() {
		server.Close()
		close(gone)
	})
	return serving{versions, server.Dial}, gone, nil
}

// leave implements leaver. Callers give back connections on which nothing is asked when they
// learn of it.
func (a *apiServiceHolder) leave(bool) { a.set(nil) }

func (a *apiServiceHolder) detach() {
	a.set(nil)
	a.open.detach()
}

// drain implements drainer.
func (a *apiServiceHolder) drain(ctx context.Context) {
	a.mu.Lock()
	before := a.before
	a.before = nil
	a.mu.Unlock()
	if len(before) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, serviceDrain)
	defer cancel()
	for _, calls := range before {
		calls.drain(ctx)
	}
}

func (a *apiServiceHolder) set(dial func(context.Context) (net.Conn, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls != nil {
		a.before, a.calls = append(a.before, a.calls), nil
	}
	if a.dial = dial; dial != nil {
		a.calls = &underway{}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// Dial implements APIService.
func (a *apiServiceHolder) Dial(ctx context.Context) (net.Conn, error) {
	a.mu.Lock()
	dial, calls := a.dial, a.calls
	if dial != nil {
		calls.begin()
	}
	a.mu.Unlock()
	if dial == nil {
		return nil, a.away()
	}
	conn, err := dial(ctx)
	if err != nil {
		calls.end()
		return nil, fmt.Errorf("plugin %s: %w", a.supervisor.spec.Name, err)
	}
	return &countedConn{Conn: conn, closed: sync.OnceFunc(calls.end)}, nil
}

// countedConn is a connection that is waited for.
type countedConn struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// State implements APIService.
func (a *apiServiceHolder) State() (<-chan struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dial == nil {
		return a.changed, a.away()
	}
	return a.changed, nil
}

func (a *apiServiceHolder) away() error {
	st := a.supervisor.snapshot()
	if st.Reason == "" {
		return fmt.Errorf("plugin %s is %s", st.Name, st.Health)
	}
	return fmt.Errorf("plugin %s is %s: %s", st.Name, st.Health, st.Reason)
}

func (s *supervisor) apiService() *apiServiceHolder {
	return s.holders[protocol.PointAPIService].(*apiServiceHolder) //nolint:forcetypeassert // newSupervisor made it
}
