package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"sigs.k8s.io/knftables"

	"github.com/pintle-dev/pintle/sdk/network"
)

const hostPortsMap = "hostports"

// tableName is the bridge's own, so that two clusters on one machine leave each other's
// rules alone.
func tableName(settings Settings) string { return "pintle-" + settings.Bridge }

// nat is the node's nftables table: masquerading and host ports.
type nat struct {
	nft   knftables.Interface
	table string
}

func newNAT(settings Settings) (*nat, error) {
	table := tableName(settings)
	nft, err := knftables.New(knftables.IPv4Family, table)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w (install nftables)", err)
	}
	return &nat{nft: nft, table: table}, nil
}

// ensure writes the table's chains anew and leaves the host ports that are there, so that
// a restart of the plugin interrupts nobody.
func (n *nat) ensure(ctx context.Context, settings Settings, cidrs []string) error {
	tx := n.nft.NewTransaction()
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("pod network of this node")})
	tx.Add(&knftables.Map{Name: hostPortsMap, Type: "inet_proto . inet_service : ipv4_addr . inet_service"})
	for _, c := range []struct {
		name string
		hook knftables.BaseChainHook
		prio knftables.BaseChainPriority
	}{
		{"prerouting", knftables.PreroutingHook, knftables.DNATPriority},
		{"output", knftables.OutputHook, knftables.DNATPriority},
		{"postrouting", knftables.PostroutingHook, knftables.SNATPriority},
	} {
		chain := &knftables.Chain{Name: c.name, Type: knftables.PtrTo(knftables.NATType), Hook: knftables.PtrTo(c.hook), Priority: knftables.PtrTo(c.prio)}
		tx.Add(chain)
		tx.Flush(chain)
	}
	forward := "fib daddr type local dnat ip addr . port to meta l4proto . th dport map @" + hostPortsMap
	tx.Add(&knftables.Rule{Chain: "prerouting", Rule: forward})
	// Loopback destinations would need route_localnet, which opens the node's loopback
	// services to its neighbours.
	tx.Add(&knftables.Rule{Chain: "output", Rule: "ip daddr != 127.0.0.0/8 " + forward})
	if settings.Masquerade {
		for _, c := range cidrs {
			if strings.Contains(c, ":") {
				continue
			}
			tx.Add(&knftables.Rule{Chain: "postrouting", Rule: knftables.Concat("ip saddr", c, "ip daddr !=", settings.ClusterCIDR, "masquerade")})
		}
	}
	if err := n.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("writing nftables table %s: %w", n.table, err)
	}
	return nil
}

func (n *nat) publish(ctx context.Context, pod network.Pod, ip string) error {
	if len(pod.Ports) == 0 {
		return nil
	}
	tx := n.nft.NewTransaction()
	for _, p := range pod.Ports {
		e := hostPort(pod, p)
		tx.Add(&knftables.Element{Map: hostPortsMap, Key: e.Key, Value: []string{ip, strconv.Itoa(int(p.ContainerPort))}, Comment: e.Comment})
	}
	if err := n.nft.Run(ctx, tx); err != nil {
		if knftables.IsAlreadyExists(err) {
			return fmt.Errorf("a host port of pod %s/%s is taken by another pod on this node: %w", pod.Namespace, pod.Name, err)
		}
		return fmt.Errorf("publishing host ports of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (n *nat) withdraw(ctx context.Context, pod network.Pod) error {
	if len(pod.Ports) == 0 {
		return nil
	}
	held, err := n.nft.ListElements(ctx, "map", hostPortsMap)
	if knftables.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing host ports: %w", err)
	}
	tx := n.nft.NewTransaction()
	for _, e := range held {
		if e.Comment != nil && *e.Comment == pod.SandboxID {
			tx.Delete(e)
		}
	}
	if tx.NumOperations() == 0 {
		return nil
	}
	if err := n.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("withdrawing host ports of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func hostPort(pod network.Pod, p network.PortMapping) *knftables.Element {
	proto := strings.ToLower(p.Protocol)
	if proto == "" {
		proto = "tcp"
	}
	return &knftables.Element{
		Map: hostPortsMap, Key: []string{proto, strconv.Itoa(int(p.HostPort))},
		Comment: knftables.PtrTo(pod.SandboxID),
	}
}

func (n *nat) remove(ctx context.Context) error {
	tx := n.nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := n.nft.Run(ctx, tx); err != nil && !errors.Is(err, fs.ErrNotExist) && !knftables.IsNotFound(err) {
		return fmt.Errorf("removing nftables table %s: %w", n.table, err)
	}
	return nil
}
