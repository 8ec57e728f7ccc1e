package volumes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Storages finds storages by their names.
type Storages interface {
	// Find returns a storage. It fails with ErrNoStorage where no plugin has that name; any
	// other error is worth another try. ctx must be the controller's own.
	Find(ctx context.Context, driver string) (storage.Services, error)
	// Changed has f called whenever there may be others; before Run.
	Changed(f func())
}

// ErrNoStorage says that no plugin is the storage of a name: who else is, is not known.
var ErrNoStorage = errors.New("no plugin is this storage")

const (
	// askTimeout bounds the question what a storage offers.
	askTimeout = 10 * time.Second
	// askAgain is how soon it is asked again where it could not answer.
	askAgain = 500 * time.Millisecond
)

// Plugins are the storages among the cluster's plugins. They are looked for when the first is
// asked for.
type Plugins struct {
	env plugin.Env
	log *slog.Logger

	mu      sync.Mutex
	changed []func()
	// first is closed when all plugins that were there at first have been asked; nil before
	// anybody wanted to know.
	first chan struct{}
	// broken is why there is no way to other plugins.
	broken error
	found  map[string]found // by the plugin's name
}

// found is what a plugin has said of itself.
type found struct {
	session  uint64
	services storage.Services
	away     bool
}

// NewPlugins returns the storages that a plugin with this environment can reach.
func NewPlugins(env plugin.Env, log *slog.Logger) *Plugins {
	return &Plugins{env: env, log: log, found: map[string]found{}}
}

// Changed implements Storages.
func (p *Plugins) Changed(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = append(p.changed, f)
}

// Find implements Storages.
func (p *Plugins) Find(ctx context.Context, driver string) (storage.Services, error) {
	p.mu.Lock()
	if p.first == nil {
		p.first = make(chan struct{})
		go p.follow(ctx)
	}
	first := p.first
	p.mu.Unlock()
	select {
	case <-first:
	case <-ctx.Done():
		return storage.Services{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return storage.Services{}, fmt.Errorf("find storage %s: %w", driver, p.broken)
	}
	away := ""
	for name, f := range p.found {
		switch {
		case f.services.Driver != driver:
		case !f.away:
			return f.services, nil
		default:
			away = name
		}
	}
	if away != "" {
		return storage.Services{}, fmt.Errorf("storage %s: plugin %s is away", driver, away)
	}
	return storage.Services{}, fmt.Errorf("%w: %s", ErrNoStorage, driver)
}

// follow keeps what is known of plugins until ctx is done.
func (p *Plugins) follow(ctx context.Context) {
	answered := sync.OnceFunc(func() { close(p.first) })
	fail := func(err error) {
		p.mu.Lock()
		p.broken = err
		p.mu.Unlock()
		answered()
	}
	conn, err := peers.Connect(p.env)
	if errors.Is(err, peers.ErrNone) { // nobody can be asked, which is as if there were none
		answered()
		return
	} else if err != nil {
		fail(err)
		return
	}
	defer conn.Close()
	lists := make(chan []peers.Peer)
	go func() {
		err := conn.Watch(ctx, protocol.PointStorage, func(list []peers.Peer) {
			select {
			case lists <- list:
			case <-ctx.Done():
			}
		})
		if ctx.Err() == nil {
			p.log.Error("storages can't be found", "error", err)
			fail(err)
		}
	}()
	var list []peers.Peer
	again := time.NewTimer(askAgain)
	defer again.Stop()
	for {
		select {
		case list = <-lists:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		if list == nil {
			continue
		}
		if !p.take(ctx, list, conn) {
			again.Reset(askAgain)
		}
		answered()
	}
}

// take asks plugins that were started anew, and returns false where one could not answer.
func (p *Plugins) take(ctx context.Context, list []peers.Peer, conn *peers.Peers) bool {
	all, now := true, map[string]found{}
	p.mu.Lock()
	before := p.found
	p.mu.Unlock()
	for _, peer := range list {
		f, known := before[peer.Name]
		f.away = !peer.Available
		if peer.Available && (!known || f.session != peer.Session) {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			services, err := remote.StorageServices(ask, conn.Conn(peer.Name))
			cancel()
			if err != nil {
				all = false
				f.away = true
				p.log.Debug("a plugin does not say which storage it is", "plugin", peer.Name, "error", err)
			} else {
				f = found{session: peer.Session, services: services}
				p.log.Info("there is a storage", "plugin", peer.Name, "driver", services.Driver)
			}
		}
		now[peer.Name] = f
	}
	p.mu.Lock()
	same := maps.EqualFunc(before, now, func(a, b found) bool { return a.session == b.session && a.away == b.away })
	p.found = now
	tell := p.changed
	p.mu.Unlock()
	if !same {
		for _, f := range tell {
			f()
		}
	}
	return all
}
