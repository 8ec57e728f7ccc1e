package aggregation

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Plugin serves group versions within this server's reach, as long as it is there.
type Plugin interface {
	// Dial opens a connection on which HTTP/1.1 is spoken.
	Dial(ctx context.Context) (net.Conn, error)
	// State returns why the plugin is away, nil where it is not, and a channel that is closed
	// when that has changed.
	State() (changed <-chan struct{}, away error)
}

// Offered is a group version that a plugin serves. Parts of the priority that are zero are those
// of types that were added.
type Offered struct {
	GroupVersion schema.GroupVersion
	Priority     Priority
}

// offer is a group version that a plugin serves, or would if it had been started on this server.
type offer struct {
	name     string
	priority Priority
	plugin   Plugin // nil where it has not been started
}

// SetPlugin makes a plugin serve these group versions and no others; none takes it out. Their
// APIServices are made, and removed, by the leader. It fails where somebody else serves one.
func (a *Aggregator) SetPlugin(name string, served []Offered, p Plugin) error {
	here := map[schema.GroupVersion]bool{}
	for _, g := range a.cfg.Types.Snapshot().Groups {
		for _, v := range g.Versions {
			here[schema.GroupVersion{Group: g.Name, Version: v.Version}] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range served {
		if here[o.GroupVersion] {
			return fmt.Errorf("group version %s: the cluster serves it itself", o.GroupVersion)
		}
		if other := a.plugins[o.GroupVersion]; other != nil && other.name != name {
			return fmt.Errorf("group version %s: plugin %s serves it", o.GroupVersion, other.name)
		}
		if e := a.services[nameOf(o.GroupVersion)]; e != nil && e.service && e.managed == "" {
			return fmt.Errorf("group version %s: APIService %s sends it to a Service: delete the APIService to let the plugin serve", o.GroupVersion, e.name)
		}
	}
	for gv, o := range a.plugins {
		if o.name == name {
			delete(a.plugins, gv)
		}
	}
	for _, o := range served {
		priority, def := o.Priority, a.cfg.Priority(o.GroupVersion)
		if priority.Group == 0 {
			priority.Group = def.Group
		}
		if priority.Version == 0 {
			priority.Version = def.Version
		}
		a.plugins[o.GroupVersion] = &offer{name: name, priority: priority, plugin: p}
	}
	select {
	case a.offered <- struct{}{}:
	default: // one signal stands for all
	}
	return nil
}

// adopt takes in what plugins offer now.
func (a *Aggregator) adopt(ctx context.Context) {
	a.mu.Lock()
	a.wanted = nil
	for _, e := range a.services {
		if !e.service {
			e.remote = a.pluginRemote(ctx, e, e.remote)
		}
	}
	a.mu.Unlock()
	a.publish()
}

// pluginRemote returns who serves an APIService without a Service: a plugin, or nil for this
// server itself. before is who did until now. The caller holds the lock.
func (a *Aggregator) pluginRemote(ctx context.Context, e *entry, before *remote) *remote {
	o := a.plugins[e.gv]
	if o == nil {
		if e.plugin == "" {
			before.end()
			return nil
		}
		if before != nil && before.plugin != nil && before.plugin.plugin == nil {
			return before
		}
		o = &offer{name: e.plugin} // clients are told to wait for it
	}
	if before != nil && before.plugin == o {
		return before
	}
	before.end()
	ctx, cancel := context.WithCancel(ctx)
	r := &remote{a: a, name: e.name, gv: e.gv, plugin: o, cancel: cancel}
	r.plain = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return o.dial(ctx) },
		MaxIdleConnsPerHost: 16, IdleConnTimeout: pluginIdle,
		DisableCompression: true, // bodies are passed on as they are
	}
	r.upgrades = r.plain // it speaks HTTP/1.1 only
	go r.watch(ctx)
	return r
}

// pluginIdle is how long a connection to a plugin is kept that nobody uses.
const pluginIdle = 10 * time.Second

func (o *offer) dial(ctx context.Context) (net.Conn, error) {
	if _, away := o.state(); away != nil {
		return nil, away
	}
	return o.plugin.Dial(ctx)
}

func (o *offer) state() (changed <-chan struct{}, away error) {
	if o.plugin == nil {
		return nil, fmt.Errorf("plugin %s has not been started on this server", o.name)
	}
	return o.plugin.State()
}

// follow signals when the plugin comes or goes, until ctx ends. No change after the call is
// missed.
func (o *offer) follow(ctx context.Context, connections *http.Transport, moved chan<- struct{}) {
	changed, _ := o.state()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			changed, _ = o.state()
			connections.CloseIdleConnections() // they lead to the process that was
			select {
			case moved <- struct{}{}:
			default: // one signal stands for all
			}
		}
	}()
}
