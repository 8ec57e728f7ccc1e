package extend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

const (
	// connectTimeout bounds what a plugin is asked when it has started.
	connectTimeout = 5 * time.Second
	// reconnect is the time between attempts to ask it that.
	reconnect = time.Second
)

// Directory finds plugins.
type Directory interface {
	// Watch calls f with all plugins that have a part in scheduling, at once and at each
	// change, until ctx is done.
	Watch(ctx context.Context, f func([]peers.Peer)) error
	// Connect returns a plugin's part.
	Connect(ctx context.Context, name string) (*remote.Scheduling, error)
}

// Set are the extensions there are. The zero of *Set has none and costs nothing.
type Set struct {
	settings  Settings
	exempt    map[string]bool
	directory Directory
	log       *slog.Logger
	// changed is called when there are others than before, without a lock held.
	changed func()

	list atomic.Pointer[[]*Extension] // nil where there are none

	mu       sync.Mutex
	known    map[string]*Extension
	sessions map[string]uint64 // as last told; 0 while a plugin is away
}

// NewSet returns a set that knows of the plugins that are listed in the settings, which are
// away until Run finds them.
func NewSet(s Settings, d Directory, log *slog.Logger, changed func()) *Set {
	set := &Set{
		settings: s, directory: d, log: log, changed: changed, exempt: map[string]bool{},
		known: map[string]*Extension{}, sessions: map[string]uint64{},
	}
	for _, ns := range s.ExemptNamespaces {
		set.exempt[ns] = true
	}
	for _, e := range s.Extensions {
		if !e.Disabled {
			set.known[e.Plugin] = newExtension(s.setting(e.Plugin))
		}
	}
	set.publish()
	return set
}

// publish makes known what For returns. Called with the lock held, or by NewSet.
func (s *Set) publish() {
	list := make([]*Extension, 0, len(s.known))
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		list = append(list, s.known[name])
	}
	if len(list) == 0 {
		s.list.Store(nil)
		return
	}
	s.list.Store(&list)
}

// Any reports whether there are extensions.
func (s *Set) Any() bool { return s != nil && s.list.Load() != nil }

// For returns the extensions that have a say about a pod, by name; nil where the scheduler
// decides alone.
func (s *Set) For(p *model.Pod) []*Extension {
	if s == nil {
		return nil
	}
	list := s.list.Load()
	if list == nil || s.exempt[p.Namespace] {
		return nil
	}
	var out []*Extension
	for _, e := range *list {
		if (e.Part != nil || e.Policy == Fail) && e.concernsPod(p) {
			out = append(out, e)
		}
	}
	return out
}

// Run follows the directory until ctx is done.
func (s *Set) Run(ctx context.Context) {
	var connecting sync.WaitGroup
	defer connecting.Wait()
	err := s.directory.Watch(ctx, func(list []peers.Peer) {
		for _, p := range s.update(list) {
			connecting.Go(func() { s.connect(ctx, p) })
		}
	})
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, peers.ErrNone) && len(s.settings.Extensions) == 0:
	default:
		s.log.Error("plugins with a part in scheduling can't be found", "error", err)
	}
}

// update takes the plugins there are, and returns those that are to be connected to.
func (s *Set) update(list []peers.Peer) []peers.Peer {
	s.mu.Lock()
	var fresh []peers.Peer
	here := map[string]bool{}
	for _, p := range list {
		if s.settings.setting(p.Name).Disabled {
			continue
		}
		here[p.Name] = true
		switch {
		case !p.Available:
			s.leave(p.Name)
		case s.sessions[p.Name] != p.Session:
			s.leave(p.Name)
			s.sessions[p.Name] = p.Session
			fresh = append(fresh, p)
		}
	}
	for name := range s.known {
		if here[name] {
			continue
		}
		s.leave(name)
		if !slices.ContainsFunc(s.settings.Extensions, func(e Setting) bool { return e.Plugin == name }) {
			delete(s.known, name)
		}
	}
	s.publish()
	s.mu.Unlock()
	s.changed()
	return fresh
}

// leave records that a plugin is away. Called with the lock held.
func (s *Set) leave(name string) {
	delete(s.sessions, name)
	if e := s.known[name]; e != nil && e.Part != nil {
		s.known[name] = e.without()
		s.log.Warn("a plugin with a part in scheduling is away", "plugin", name, "failurePolicy", e.Policy)
	}
}

// connect asks a plugin that has started which pods concern it, and follows what it says of its
// answers, for as long as that session of it goes on.
func (s *Set) connect(ctx context.Context, p peers.Peer) {
	for {
		part, err := s.tryConnect(ctx, p)
		if err == nil && part.Can(scheduling.CanChange) {
			err = part.Changes(ctx, s.changed)
		}
		if err == nil || errors.Is(err, errEarlier) || ctx.Err() != nil {
			return
		}
		s.log.Warn("a plugin with a part in scheduling does not answer", "plugin", p.Name, "error", err)
		timer := time.NewTimer(reconnect)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		s.mu.Lock()
		current := s.sessions[p.Name] == p.Session
		s.mu.Unlock()
		if !current {
			return
		}
	}
}

func (s *Set) tryConnect(ctx context.Context, p peers.Peer) (*remote.Scheduling, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	part, err := s.directory.Connect(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	e := s.known[p.Name]
	if e == nil {
		e = newExtension(s.settings.setting(p.Name))
	}
	if e, err = e.with(part, p.Session); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	if s.sessions[p.Name] != p.Session {
		s.mu.Unlock()
		return nil, errEarlier
	}
	s.known[p.Name] = e
	s.publish()
	s.mu.Unlock()
	s.log.Info("a plugin takes part in scheduling", "plugin", p.Name, "version", p.Version, "parts", p.Capabilities, "weight", e.Weight)
	s.changed()
	return part, nil
}

// errEarlier: the plugin has been started again meanwhile.
var errEarlier = errors.New("this session of the plugin is over")

// FromPeers returns the directory of a plugin's peers.
func FromPeers(p *peers.Peers) Directory { return peerDirectory{p} }

type peerDirectory struct{ peers *peers.Peers }

// Watch implements Directory.
func (d peerDirectory) Watch(ctx context.Context, f func([]peers.Peer)) error {
	return d.peers.Watch(ctx, protocol.PointScheduling, f)
}

// Connect implements Directory.
func (d peerDirectory) Connect(ctx context.Context, name string) (*remote.Scheduling, error) {
	c, err := remote.Connect(ctx, d.peers.Conn(name), "")
	if err != nil {
		return nil, err
	}
	part, ok, err := c.Scheduling(ctx)
	if err == nil && !ok {
		err = fmt.Errorf("plugin %s has no part in scheduling", name)
	}
	return part, err
}
