package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Name of the plugin in the catalogue.
const Name = "network"

// Network implements network.Network.
type Network struct {
	settings Settings

	mu     sync.RWMutex
	dir    string
	attach *attacher
	nat    *nat
	stop   func()
}

var _ network.Network = (*Network)(nil)

// New returns the plugin with default settings.
func New() *Network { return &Network{settings: defaultSettings()} }

// Info says who the plugin is.
func (n *Network) Info() plugin.Info {
	return plugin.Info{
		Name:        Name,
		Version:     "v0.1.0",
		Description: "Pod addresses, bridge and routes of each node through CNI",
		Permissions: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch", "patch"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create"}},
		},
	}
}

// ConfigSchema describes Settings.
func (n *Network) ConfigSchema() []byte { return []byte(settingsSchema) }

// Configure checks and keeps the settings.
func (n *Network) Configure(_ context.Context, raw []byte) error {
	s, err := parseSettings(raw)
	if err != nil {
		return err
	}
	n.settings = s
	return nil
}

// Setup prepares the node: pod range, forwarding, NAT, and routes to the other nodes.
func (n *Network) Setup(ctx context.Context, env plugin.Env, node network.Node) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	cidrs := node.PodCIDRs
	if len(cidrs) == 0 {
		if cidrs, err = podCIDRs(ctx, client, n.settings, node.Name); err != nil {
			return err
		}
	}
	attach, err := newAttacher(n.settings, cidrs, env.Dir)
	if err != nil {
		return err
	}
	nat, err := newNAT(n.settings)
	if err != nil {
		return err
	}
	if err := nat.ensure(ctx, n.settings, cidrs); err != nil {
		return err
	}
	if err := enableForwarding(env.Dir); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop != nil {
		n.stop()
	}
	// Setup's context ends with the call; the routes outlive it.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	env.Node = node.Name
	go func() {
		defer close(done)
		if err := runRoutes(run, client, env, n.settings); err != nil && run.Err() == nil {
			env.Log.Error("routes to other nodes are no longer kept", "err", err)
		}
	}()
	n.dir, n.attach, n.nat = env.Dir, attach, nat
	n.stop = func() { cancel(); <-done }
	env.Log.Info("node is set up", "node", node.Name, "podCIDRs", cidrs, "bridge", n.settings.Bridge)
	return nil
}

func (n *Network) ready() (*attacher, *nat, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.attach == nil {
		return nil, nil, errors.New("the node's network is not set up yet")
	}
	return n.attach, n.nat, nil
}

// Attach connects a pod and publishes its host ports.
func (n *Network) Attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	attach, nat, err := n.ready()
	if err != nil {
		return network.Result{}, err
	}
	res, err := attach.attach(ctx, pod)
	if err != nil {
		return res, err
	}
	return res, nat.publish(ctx, pod, res.IPs[0])
}

// Detach undoes Attach.
func (n *Network) Detach(ctx context.Context, pod network.Pod) error {
	attach, nat, err := n.ready()
	if err != nil {
		return err
	}
	return errors.Join(nat.withdraw(ctx, pod), attach.detach(ctx, pod))
}

// Check reports whether a pod is still connected.
func (n *Network) Check(ctx context.Context, pod network.Pod) error {
	attach, _, err := n.ready()
	if err != nil {
		return err
	}
	return attach.check(ctx, pod)
}

// Teardown removes the bridge, the routes, the NAT table and the address leases.
func (n *Network) Teardown(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
	n.attach, n.nat = nil, nil
	return clean(ctx, n.settings, n.dir)
}

// Clean removes from the node what a plugin with these settings and this directory left,
// also where that plugin does not run any more.
func Clean(ctx context.Context, settings []byte, dir string) error {
	s, err := parseSettings(settings)
	if err != nil {
		return err
	}
	return clean(ctx, s, dir)
}

func clean(ctx context.Context, settings Settings, dir string) error {
	errs := []error{removeRoutes(settings), removeLink(settings.Bridge)}
	if nat, err := newNAT(settings); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, nat.remove(ctx))
	}
	if dir != "" {
		errs = append(errs, restoreForwarding(dir))
		for _, sub := range []string{"leases", "cache"} {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, sub)))
		}
	}
	return errors.Join(errs...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("removing link %s: %w", name, err)
	}
	return nil
}
