package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
)

// balancers gives addresses of a range to Services and remembers them in a file. A real cloud
// would make load balancers there, for which its API is asked.
type balancers struct {
	file string
	pool netip.Prefix

	mu    sync.Mutex
	given map[string]string // addresses by the Services' UIDs
}

var _ cloud.LoadBalancers = (*balancers)(nil)

func openBalancers(file string, pool netip.Prefix) (*balancers, error) {
	b := &balancers{file: file, pool: pool, given: map[string]string{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.given)
	}
	if err != nil {
		return nil, fmt.Errorf("load balancers: %w", err)
	}
	return b, nil
}

// change changes the addresses that are given, on the disk first.
func (b *balancers) change(uid, address string) error {
	next := map[string]string{}
	for k, v := range b.given {
		next[k] = v
	}
	if next[uid] = address; address == "" {
		delete(next, uid)
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.file+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(b.file+".new", b.file); err != nil {
		return err
	}
	b.given = next
	return nil
}

func status(address string) *corev1.LoadBalancerStatus {
	return &corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: address}}}
}

// GetLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) GetLoadBalancer(_ context.Context, _ string, service *corev1.Service) (*corev1.LoadBalancerStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	address, ok := b.given[string(service.UID)]
	if !ok {
		return nil, nil
	}
	return status(address), nil
}

// EnsureLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) EnsureLoadBalancer(_ context.Context, _ string, service *corev1.Service, _ []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if address, ok := b.given[string(service.UID)]; ok {
		return status(address), nil
	}
	taken := map[string]bool{}
	for _, a := range b.given {
		taken[a] = true
	}
	for a := b.pool.Addr().Next(); b.pool.Contains(a); a = a.Next() {
		if !taken[a.String()] {
			return status(a.String()), b.change(string(service.UID), a.String())
		}
	}
	return nil, fmt.Errorf("all addresses of %s are in use", b.pool)
}

// UpdateLoadBalancer implements cloud.LoadBalancers. Where packets go from here is not this
// cloud's affair; a real one tells its load balancer the new nodes.
func (b *balancers) UpdateLoadBalancer(context.Context, string, *corev1.Service, []*corev1.Node) error {
	return nil
}

// DeleteLoadBalancer implements cloud.LoadBalancers.
func (b *balancers) DeleteLoadBalancer(_ context.Context, _ string, service *corev1.Service) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.given[string(service.UID)]; !ok {
		return nil
	}
	return b.change(string(service.UID), "")
}
