package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// networkProxy is a network whose plugin may come and go.
type networkProxy struct {
	supervisor *supervisor

	mu      sync.Mutex
	node    *network.Node   // of the last Setup
	current network.Network // nil where the plugin is away
	ready   bool            // current has been set up
	env     plugin.Env      // for a builtin plugin
	changed chan struct{}
}

var _ network.Network = (*networkProxy)(nil)

func newNetworkProxy(s *supervisor) *networkProxy {
	return &networkProxy{supervisor: s, changed: make(chan struct{})}
}

// Info implements plugin.Plugin.
func (n *networkProxy) Info() plugin.Info {
	st := n.supervisor.snapshot()
	return plugin.Info{
		Name: st.Name, Version: st.Version, Description: st.Description, Permissions: st.Requested,
	}
}

// ConfigSchema implements plugin.Plugin; settings are the host's affair.
func (n *networkProxy) ConfigSchema() []byte { return nil }

// Configure implements plugin.Plugin.
func (n *networkProxy) Configure(context.Context, []byte) error {
	return fmt.Errorf("plugin %s is configured by its host", n.supervisor.spec.Name)
}

// attach makes the plugin the current network, and sets it up where the one before it was.
func (n *networkProxy) attach(ctx context.Context, g *guest, _ chan<- error) error {
	net, ok := as(g, (*remote.Client).Network)
	if !ok {
		return fmt.Errorf("it offers point %q and is no network", protocol.PointNetwork)
	}
	env := g.env
	n.mu.Lock()
	node := n.node
	n.mu.Unlock()
	if node != nil {
		if err := net.Setup(ctx, env, *node); err != nil {
			return fmt.Errorf("set up node %s again: %w", node.Name, err)
		}
	}
	n.set(func() {
		// Setup may have been called for another node meanwhile; it waits for current.
		n.current, n.env, n.ready = net, env, node != nil && n.node == node
	})
	return nil
}

// leave implements leaver.
func (n *networkProxy) leave(bool) { n.detach() }

func (n *networkProxy) detach() {
	n.set(func() { n.current, n.ready = nil, false })
}

func (n *networkProxy) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// wait returns the current network; with setUp only one that has been set up.
func (n *networkProxy) wait(ctx context.Context, setUp bool) (network.Network, plugin.Env, error) {
	for {
		n.mu.Lock()
		current, env, ready, node, changed := n.current, n.env, n.ready, n.node, n.changed
		n.mu.Unlock()
		if setUp && node == nil {
			return nil, plugin.Env{}, errors.New("the network has not been set up: Setup was not called")
		}
		if current != nil && (ready || !setUp) {
			return current, env, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			st := n.supervisor.snapshot()
			return nil, plugin.Env{}, fmt.Errorf("network plugin %s is %s: %s: %w", st.Name, st.Health, st.Reason, ctx.Err())
		}
	}
}

// Setup implements network.Network. env is not used: the plugin has its own.
func (n *networkProxy) Setup(ctx context.Context, _ plugin.Env, node network.Node) error {
	n.set(func() { n.node, n.ready = &node, false })
	net, env, err := n.wait(ctx, false)
	if err != nil {
		return err
	}
	n.mu.Lock()
	done := n.ready && n.node == &node // by attach, as the plugin has just started
	n.mu.Unlock()
	if done {
		return nil
	}
	if err := net.Setup(ctx, env, node); err != nil {
		return n.named(err)
	}
	n.set(func() {
		if n.current == net && n.node == &node {
			n.ready = true
		}
	})
	return nil
}

// Attach implements network.Network.
func (n *networkProxy) Attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	net, _, err := n.wait(ctx, true)
	if err != nil {
		return network.Result{}, err
	}
	res, err := net.Attach(ctx, pod)
	return res, n.named(err)
}

// Detach implements network.Network.
func (n *networkProxy) Detach(ctx context.Context, pod network.Pod) error {
	net, _, err := n.wait(ctx, false)
	if err != nil {
		return err
	}
	return n.named(net.Detach(ctx, pod))
}

// Check implements network.Network.
func (n *networkProxy) Check(ctx context.Context, pod network.Pod) error {
	net, _, err := n.wait(ctx, true)
	if err != nil {
		return err
	}
	return n.named(net.Check(ctx, pod))
}

// Teardown implements network.Network. The plugin is not set up again when it restarts.
func (n *networkProxy) Teardown(ctx context.Context) error {
	n.set(func() { n.node, n.ready = nil, false })
	net, _, err := n.wait(ctx, false)
	if err != nil {
		return err
	}
	return n.named(net.Teardown(ctx))
}

func (n *networkProxy) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("network plugin %s: %w", n.supervisor.spec.Name, err)
}
