package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/pintle-dev/pintle/sdk/network"
)

// podInterface is the pods' end of their link.
const podInterface = "eth0"

// chain runs programs that speak CNI, here those that most machines have. One that comes with a
// network of its own (eBPF, an overlay) differs in configuration only; one without CNI does here
// what it likes with pod.NetNS.
type chain struct {
	cni    *libcni.CNIConfig
	list   *libcni.NetworkConfigList
	bridge string
	dirs   []string // what is kept for calls that are repeated
}

func newChain(s Settings, ranges []string, dir string) (*chain, error) {
	var subnets [][]map[string]string
	for _, r := range ranges {
		subnets = append(subnets, []map[string]string{{"subnet": r}})
	}
	leases, cache := filepath.Join(dir, "leases"), filepath.Join(dir, "cache")
	raw, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "bridge",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": s.Bridge, "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
				"ipam": map[string]any{"type": "host-local", "ranges": subnets, "dataDir": leases},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	})
	if err != nil {
		return nil, err
	}
	list, err := libcni.ConfListFromBytes(raw)
	if err != nil {
		return nil, err
	}
	c := &chain{cni: libcni.NewCNIConfigWithCacheDir(s.BinDirs, cache, nil), list: list, bridge: s.Bridge, dirs: []string{leases, cache}}
	for _, p := range list.Plugins {
		if !found(s.BinDirs, p.Network.Type) {
			return nil, fmt.Errorf("CNI plugin %q is in none of %v: install containernetworking-plugins, or set settings.binDirs", p.Network.Type, s.BinDirs)
		}
	}
	return c, nil
}

func found(dirs []string, name string) bool {
	for _, d := range dirs {
		if st, err := os.Stat(filepath.Join(d, name)); err == nil && st.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// runtimeConf is what CNI plugins are told about a pod.
func runtimeConf(pod network.Pod) *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{
		ContainerID: pod.SandboxID, NetNS: pod.NetNS, IfName: podInterface,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", pod.Namespace}, {"K8S_POD_NAME", pod.Name}, {"K8S_POD_UID", pod.UID}},
	}
	if len(pod.Ports) > 0 {
		var ports []map[string]any
		for _, m := range pod.Ports {
			ports = append(ports, map[string]any{"hostPort": m.HostPort, "containerPort": m.ContainerPort, "protocol": m.Protocol, "hostIP": m.HostIP})
		}
		rt.CapabilityArgs = map[string]any{"portMappings": ports}
	}
	return rt
}

func (c *chain) attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	rt := runtimeConf(pod)
	if before, err := c.cni.GetNetworkListCachedResult(c.list, rt); err == nil && before != nil {
		if c.cni.CheckNetworkList(ctx, c.list, rt) == nil {
			return result(before)
		}
	}
	// An attachment that failed halfway, now or before a crash, leaves nothing behind.
	if err := c.cni.DelNetworkList(ctx, c.list, rt); err != nil {
		return network.Result{}, fmt.Errorf("pod %s/%s: clear what was attached before: %w", pod.Namespace, pod.Name, err)
	}
	added, err := c.cni.AddNetworkList(ctx, c.list, rt)
	if err != nil {
		return network.Result{}, errors.Join(fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err), c.cni.DelNetworkList(ctx, c.list, rt))
	}
	return result(added)
}

func (c *chain) detach(ctx context.Context, pod network.Pod) error {
	if err := c.cni.DelNetworkList(ctx, c.list, runtimeConf(pod)); err != nil {
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (c *chain) check(ctx context.Context, pod network.Pod) error {
	rt := runtimeConf(pod)
	before, err := c.cni.GetNetworkListCachedResult(c.list, rt)
	switch {
	case err != nil:
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	case before == nil:
		return fmt.Errorf("pod %s/%s is not attached", pod.Namespace, pod.Name)
	}
	if err := c.cni.CheckNetworkList(ctx, c.list, rt); err != nil {
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// remove takes from the node what Setup and Attach made.
func (c *chain) remove() error {
	errs := []error{removeLink(c.bridge)}
	for _, d := range c.dirs {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return netlink.LinkDel(link)
}

func result(r cnitypes.Result) (network.Result, error) {
	now, err := types100.NewResultFromResult(r)
	if err != nil {
		return network.Result{}, fmt.Errorf("CNI's result: %w", err)
	}
	out := network.Result{Interface: podInterface}
	for _, ip := range now.IPs {
		out.IPs = append(out.IPs, ip.Address.IP.String())
	}
	if len(out.IPs) == 0 {
		return out, errors.New("CNI's result has no address")
	}
	return out, nil
}
