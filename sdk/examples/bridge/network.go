package main

import (
	"context"
	"errors"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// The host may repeat each call, after a crash of its own or of this process. So what was attached
// is found again in env.Dir, which outlives both, and what is gone already is no error.

// Setup implements network.Network. Routes to the other nodes, say, would be kept by a goroutine
// that is started here, until ctx is done.
func (p *Plugin) Setup(_ context.Context, env plugin.Env, node network.Node) error {
	ranges := node.PodCIDRs
	if len(ranges) == 0 {
		ranges = []string{p.settings.PodCIDR}
	}
	c, err := newChain(p.settings, ranges, env.Dir)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chain = c
	if env.Log != nil {
		env.Log.Info("the node is set up", "node", node.Name, "ranges", ranges, "bridge", p.settings.Bridge)
	}
	return nil
}

func (p *Plugin) ready() (*chain, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.chain == nil {
		return nil, errors.New("the node's network is not set up")
	}
	return p.chain, nil
}

// Attach implements network.Network.
func (p *Plugin) Attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	c, err := p.ready()
	if err != nil {
		return network.Result{}, err
	}
	return c.attach(ctx, pod)
}

// Detach implements network.Network.
func (p *Plugin) Detach(ctx context.Context, pod network.Pod) error {
	c, err := p.ready()
	if err != nil {
		return err
	}
	return c.detach(ctx, pod)
}

// Check implements network.Network.
func (p *Plugin) Check(ctx context.Context, pod network.Pod) error {
	c, err := p.ready()
	if err != nil {
		return err
	}
	return c.check(ctx, pod)
}

// Teardown implements network.Network.
func (p *Plugin) Teardown(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.chain
	p.chain = nil
	if c == nil {
		return nil
	}
	return c.remove()
}
