package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
)

// balancer is what is known of one load balancer, and kept in the file.
type balancer struct {
	// Ports by the Service's port: the node port that it leads to.
	Ports map[int32]int32 `json:"ports"`
	// Nodes are addresses of those that take traffic.
	Nodes []string `json:"nodes"`
}

// balancers are the load balancers of this machine, by the Service's UID.
type balancers struct {
	address string
	file    string
	log     *slog.Logger

	mu      sync.Mutex
	all     map[string]balancer
	proxies map[string]map[int32]*proxy
}

var _ cloud.LoadBalancers = (*balancers)(nil)

func newBalancers(address, file string, log *slog.Logger) *balancers {
	return &balancers{address: address, file: file, log: log, all: map[string]balancer{}, proxies: map[string]map[int32]*proxy{}}
}

// restore listens again where it did before a restart.
func (b *balancers) restore(ctx context.Context) error {
	text, err := os.ReadFile(b.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kept := map[string]balancer{}
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("%s: %w", b.file, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for uid, want := range kept {
		if err := b.serve(ctx, uid, want); err != nil {
			b.log.Warn("a load balancer is not back; it is when its Service is looked at next", "service", uid, "error", err)
		}
	}
	return nil
}

// serve makes a load balancer what it should be. The caller holds the lock.
func (b *balancers) serve(ctx context.Context, uid string, want balancer) error {
	open := b.proxies[uid]
	if open == nil {
		open = map[int32]*proxy{}
		b.proxies[uid] = open
	}
	b.all[uid] = want
	for port, p := range open {
		if _, ok := want.Ports[port]; !ok {
			p.close()
			delete(open, port)
		}
	}
	for port, nodePort := range want.Ports {
		if open[port] == nil {
			p, err := listen(ctx, b.address, port)
			if err != nil {
				return fmt.Errorf("port %d: %w", port, err)
			}
			open[port] = p
		}
		open[port].lead(want.Nodes, nodePort)
	}
	return b.keep()
}

// keep writes the file, of which there is always a whole one.
func (b *balancers) keep() error {
	text, err := json.Marshal(b.all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(b.file+".new", b.file)
}

func (b *balancers) status(want balancer) *corev1.LoadBalancerStatus {
	in := corev1.LoadBalancerIngress{IP: b.address}
	for port := range want.Ports {
		in.Ports = append(in.Ports, corev1.PortStatus{Port: port, Protocol: corev1.ProtocolTCP})
	}
	slices.SortFunc(in.Ports, func(x, y corev1.PortStatus) int { return int(x.Port - y.Port) })
	return &corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{in}}
}

// GetLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) GetLoadBalancer(_ context.Context, _ string, service *corev1.Service) (*corev1.LoadBalancerStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.all[string(service.UID)]
	if !ok {
		return nil, nil //nolint:nilnil // there is none
	}
	return b.status(have), nil
}

// EnsureLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) EnsureLoadBalancer(ctx context.Context, _ string, service *corev1.Service, nodes []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	want := balancer{Ports: map[int32]int32{}, Nodes: addresses(nodes)}
	for _, p := range service.Spec.Ports {
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			return nil, fmt.Errorf("port %d: protocol %s: this cloud balances only TCP", p.Port, p.Protocol)
		}
		want.Ports[p.Port] = p.NodePort
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.serve(ctx, string(service.UID), want); err != nil {
		return nil, err
	}
	return b.status(want), nil
}

// UpdateLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) UpdateLoadBalancer(ctx context.Context, _ string, service *corev1.Service, nodes []*corev1.Node) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.all[string(service.UID)]
	if !ok {
		return fmt.Errorf("there is no load balancer for service %s/%s", service.Namespace, service.Name)
	}
	want := balancer{Ports: have.Ports, Nodes: addresses(nodes)}
	if reflect.DeepEqual(want, have) {
		return nil
	}
	return b.serve(ctx, string(service.UID), want)
}

// DeleteLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) DeleteLoadBalancer(_ context.Context, _ string, service *corev1.Service) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	uid := string(service.UID)
	for _, p := range b.proxies[uid] {
		p.close()
	}
	delete(b.proxies, uid)
	delete(b.all, uid)
	return b.keep()
}

// close ends all, of which the file still tells.
func (b *balancers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ports := range b.proxies {
		for _, p := range ports {
			p.close()
		}
	}
	clear(b.proxies)
}

// addresses are where nodes are reached.
func addresses(nodes []*corev1.Node) []string {
	out := []string{}
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				out = append(out, a.Address)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}
