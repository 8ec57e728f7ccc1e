package host

import (
	"context"
	"errors"
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

	mu      sync.Mutex
	dial    func(context.Context) (net.Conn, error) // nil where the plugin is away
	end     func()                                  // lets the plugin stop serving
	changed chan struct{}
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
	life, end := context.WithCancel(ctx)
	patience := time.AfterFunc(config.CallTimeout, end)
	gvs, dial, gone, err := openAPIService(life, g)
	if !patience.Stop() && ctx.Err() == nil {
		err = fmt.Errorf("it did not say within %s what it serves", config.CallTimeout)
	}
	if err != nil {
		end()
		return fmt.Errorf("API service: %w", err)
	}
	a.set(dial, end)
	if !slices.Equal(gvs, a.offered) {
		if err := config.OnAPIService(a.supervisor.spec.Name, gvs, a); err != nil {
			return fmt.Errorf("what it serves was not accepted: %w", err)
		}
		a.offered = gvs
	}
	go func() {
		<-gone
		if life.Err() == nil {
			failed <- errors.New("it no longer serves its API")
		}
	}()
	return nil
}

// openAPIService lets the plugin serve until ctx is done.
func openAPIService(ctx context.Context, g *guest) (
	gvs []apiservice.GroupVersion, dial func(context.Context) (net.Conn, error), gone <-chan struct{}, err error,
) {
	if g.client != nil {
		svc, ok := g.client.APIService()
		if !ok {
			return nil, nil, nil, fmt.Errorf("it does not offer point %q", protocol.PointAPIService)
		}
		gvs, gone, err = svc.Open(ctx)
		return gvs, svc.Dial, gone, err
	}
	impl, ok := g.base.(apiservice.APIService)
	if !ok {
		return nil, nil, nil, fmt.Errorf("it offers point %q and is no API service", protocol.PointAPIService)
	}
	gvs = impl.GroupVersions()
	if err := remote.CheckGroupVersions(gvs); err != nil {
		return nil, nil, nil, err
	}
	handler, err := impl.Serve(ctx, g.env)
	if err != nil {
		return nil, nil, nil, err
	}
	server := apiservice.NewServer(handler)
	context.AfterFunc(ctx, server.Close)
	return gvs, server.Dial, ctx.Done(), nil
}

func (a *apiServiceHolder) detach() {
	a.mu.Lock()
	end := a.end
	a.mu.Unlock()
	a.set(nil, nil)
	if end != nil {
		end()
	}
}

func (a *apiServiceHolder) set(dial func(context.Context) (net.Conn, error), end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dial, a.end = dial, end
	close(a.changed)
	a.changed = make(chan struct{})
}

// Dial implements APIService.
func (a *apiServiceHolder) Dial(ctx context.Context) (net.Conn, error) {
	a.mu.Lock()
	dial := a.dial
	a.mu.Unlock()
	if dial == nil {
		return nil, a.away()
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", a.supervisor.spec.Name, err)
	}
	return conn, nil
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
