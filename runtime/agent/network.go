package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/network"
)

// errNoNetwork is why pods wait on a node without pod networking.
var errNoNetwork = errors.New("the node has no network plugin; only pods with hostNetwork can run here")

// nodeNetwork sets the node's pod network up and tells when pods can be attached.
type nodeNetwork struct {
	a *Agent

	mu    sync.Mutex
	cidrs []string
	ready chan struct{} // closed when set up
	err   error         // why it is not
	wake  chan struct{}
}

func newNodeNetwork(a *Agent) *nodeNetwork {
	return &nodeNetwork{a: a, ready: make(chan struct{}), err: errors.New("the network is being set up"), wake: make(chan struct{}, 1)}
}

// wait returns when pods can be attached.
func (n *nodeNetwork) wait(ctx context.Context) error {
	if n.a.cfg.Network == nil {
		return errNoNetwork
	}
	select {
	case <-n.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the network: %w", ctx.Err())
	}
}

// state reports whether the network is set up, and if not, why.
func (n *nodeNetwork) state() error {
	if n.a.cfg.Network == nil {
		return nil // a node for hostNetwork pods is ready for them
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// setNode takes the node's pod CIDRs over.
func (n *nodeNetwork) setNode(node *corev1.Node) {
	cidrs := node.Spec.PodCIDRs
	if len(cidrs) == 0 && node.Spec.PodCIDR != "" {
		cidrs = []string{node.Spec.PodCIDR}
	}
	if len(cidrs) == 0 {
		if n.a.cfg.WaitForPodCIDR {
			return
		}
		cidrs = n.a.cfg.PodCIDRs
	}
	n.mu.Lock()
	same := slices.Equal(n.cidrs, cidrs) && n.cidrs != nil
	n.cidrs = append([]string{}, cidrs...)
	n.mu.Unlock()
	if !same {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// run sets the network up, again whenever the pod CIDRs change.
func (n *nodeNetwork) run(ctx context.Context) {
	if n.a.cfg.Network == nil {
		return
	}
	var retry <-chan time.Time
	delay := 200 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-retry:
		}
		retry = nil
		n.mu.Lock()
		node := network.Node{Name: n.a.cfg.NodeName, PodCIDRs: n.cidrs, Addresses: []string{n.a.cfg.NodeIP}}
		n.mu.Unlock()
		err := recordNetwork(n.a.networkFile(), node)
		if err == nil {
			err = n.a.cfg.Network.Setup(ctx, n.a.cfg.NetworkEnv, node)
		}
		if ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		n.err = err
		if err == nil {
			select {
			case <-n.ready:
			default:
				close(n.ready)
			}
		}
		n.mu.Unlock()
		if err != nil {
			n.a.log.Warn("cannot set up the node's network", "err", err)
			retry = time.After(delay)
			delay = min(2*delay, 10*time.Second)
		} else {
			n.a.log.Info("the node's network is set up", "podCIDRs", node.PodCIDRs)
			delay = 200 * time.Millisecond
		}
		n.a.node.poke()
	}
}

// networkFile has how the network was set up last.
func (a *Agent) networkFile() string { return filepath.Join(a.cfg.Dir, "network", "node") }

// teardownNetwork sets the network up as it was, so that a process of it that has just been
// started knows what there is to be undone, has f detach the pods, and tears it down.
func (a *Agent) teardownNetwork(ctx context.Context, f func()) error {
	b, err := os.ReadFile(a.networkFile())
	if a.cfg.Network == nil || errors.Is(err, os.ErrNotExist) {
		f()
		return nil
	}
	var node network.Node
	if err == nil {
		err = json.Unmarshal(b, &node)
	}
	if err == nil {
		err = a.cfg.Network.Setup(ctx, a.cfg.NetworkEnv, node)
	}
	f()
	if err == nil {
		err = a.cfg.Network.Teardown(ctx)
	}
	if err != nil {
		return fmt.Errorf("network of the node: %w", err)
	}
	return nil
}
