package network

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// routeProtocol marks the routes that are ours, so that no other is ever touched. The
// number is one that rtnetlink(7) leaves to user space.
const routeProtocol = 80

// runRoutes keeps a route to the pod ranges of every other node until ctx ends.
func runRoutes(ctx context.Context, client kubernetes.Interface, env plugin.Env, settings Settings) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(projectNode))
	informer := factory.Core().V1().Nodes()
	lister := informer.Lister()
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal() },
		UpdateFunc: func(any, any) { signal() },
		DeleteFunc: func(any) { signal() },
	}); err != nil {
		return fmt.Errorf("watching nodes: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return context.Cause(ctx)
	}
	for {
		if err := syncRoutes(lister, env.Node, settings); err != nil {
			env.Log.Error("routes to other nodes", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// projectNode keeps of a node only what routes are made of.
func projectNode(obj any) (any, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	out := &corev1.Node{}
	out.Name, out.ResourceVersion, out.UID = n.Name, n.ResourceVersion, n.UID
	out.Spec.PodCIDRs = n.Spec.PodCIDRs
	out.Status.Addresses = n.Status.Addresses
	return out, nil
}

func syncRoutes(lister listers.NodeLister, self string, settings Settings) error {
	nodes, err := lister.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	want := wantedRoutes(nodes, self)
	have, err := ownRoutes(settings)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if gw, ok := want[r.Dst.String()]; ok && gw.Equal(r.Gw) {
			delete(want, r.Dst.String())
			continue
		}
		if err := netlink.RouteDel(&r); err != nil {
			errs = append(errs, fmt.Errorf("removing route to %s: %w", r.Dst, err))
		}
	}
	for dst, gw := range want {
		_, ipnet, err := net.ParseCIDR(dst)
		if err != nil {
			errs = append(errs, fmt.Errorf("pod range %q: %w", dst, err))
			continue
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipnet, Gw: gw, Protocol: routeProtocol}); err != nil {
			errs = append(errs, fmt.Errorf("route to %s through %s: %w", dst, gw, err))
		}
	}
	return errors.Join(errs...)
}

// wantedRoutes maps each other node's pod ranges to its address of the same family.
func wantedRoutes(nodes []*corev1.Node, self string) map[string]net.IP {
	want := map[string]net.IP{}
	for _, n := range nodes {
		if n.Name == self {
			continue
		}
		for _, c := range n.Spec.PodCIDRs {
			_, ipnet, err := net.ParseCIDR(c)
			if err != nil {
				continue
			}
			for _, a := range n.Status.Addresses {
				ip := net.ParseIP(a.Address)
				if a.Type == corev1.NodeInternalIP && ip != nil && (ip.To4() != nil) == (ipnet.IP.To4() != nil) {
					want[ipnet.String()] = ip
					break
				}
			}
		}
	}
	return want
}

// ownRoutes are the routes that we made for this cluster's range.
func ownRoutes(settings Settings) ([]netlink.Route, error) {
	_, cluster, err := net.ParseCIDR(settings.ClusterCIDR)
	if err != nil {
		return nil, fmt.Errorf("settings.clusterCIDR: %w", err)
	}
	all, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var own []netlink.Route
	for _, r := range all {
		if r.Dst != nil && cluster.Contains(r.Dst.IP) {
			own = append(own, r)
		}
	}
	return own, nil
}

func removeRoutes(settings Settings) error {
	have, err := ownRoutes(settings)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if err := netlink.RouteDel(&r); err != nil {
			errs = append(errs, fmt.Errorf("removing route to %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}
