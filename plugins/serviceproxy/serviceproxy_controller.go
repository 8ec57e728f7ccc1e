package serviceproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

const (
	// serviceProxyName marks services that another proxy than the cluster's cares for.
	serviceProxyName = "service.kubernetes.io/service-proxy-name"
	// gather is how long changes are gathered after one was written, so that a rollout does
	// not run nft for each of its pods.
	gather = 100 * time.Millisecond
	// distrust is after which time the table is read again, in case someone changed it.
	// It costs seconds of a core where there are thousands of services.
	distrust = time.Hour
	maxRetry = 30 * time.Second
)

// bridgeCalls tell whether frames that a bridge forwards pass the IP hooks.
var bridgeCalls = map[corev1.IPFamily]string{
	corev1.IPv4Protocol: "/proc/sys/net/bridge/bridge-nf-call-iptables",
	corev1.IPv6Protocol: "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
}

// Run keeps the node's tables until ctx ends, and leaves them.
func (p *Proxy) Run(ctx context.Context, env plugin.Env) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return p.run(ctx, client, env)
}

// keeper has all that one node's tables are made from.
type keeper struct {
	env      plugin.Env
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	nodes    corelisters.NodeLister
	tables   map[corev1.IPFamily]*table
	last     map[corev1.IPFamily]*contents // what connection tracking was last cleared for
	changed  chan struct{}
}

func (p *Proxy) run(ctx context.Context, client kubernetes.Interface, env plugin.Env) error {
	k := &keeper{
		env: env, tables: map[corev1.IPFamily]*table{}, last: map[corev1.IPFamily]*contents{}, changed: make(chan struct{}, 1),
	}
	for _, f := range p.settings.IPFamilies {
		t, err := newTable(nftFamily(f), p.settings.TableName)
		if err != nil {
			return err
		}
		k.tables[f] = t
	}
	mine := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(project),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + serviceProxyName + ",!" + corev1.IsHeadlessService
		}))
	self := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(project),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, env.Node).String()
		}))
	services, endpointSlices, nodes := mine.Core().V1().Services(), mine.Discovery().V1().EndpointSlices(), self.Core().V1().Nodes()
	k.services, k.slices, k.nodes = services.Lister(), endpointSlices.Lister(), nodes.Lister()
	var synced []cache.InformerSynced
	for _, i := range []cache.SharedIndexInformer{services.Informer(), endpointSlices.Informer(), nodes.Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { k.signal() }, UpdateFunc: func(any, any) { k.signal() }, DeleteFunc: func(any) { k.signal() },
		}); err != nil {
			return fmt.Errorf("watching: %w", err)
		}
		synced = append(synced, i.HasSynced)
	}
	for _, f := range []informers.SharedInformerFactory{mine, self} {
		f.Start(ctx.Done())
		defer f.Shutdown()
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	k.keep(ctx)
	return nil
}

func (k *keeper) signal() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// keep reconciles whenever something has changed, until ctx ends.
func (k *keeper) keep(ctx context.Context) {
	retry := gather
	again := time.NewTimer(0)
	defer again.Stop()
	distrusted := time.Now().Add(distrust)
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
		case <-again.C:
		}
		if time.Now().After(distrusted) {
			distrusted = time.Now().Add(distrust)
			for _, t := range k.tables {
				t.forget()
			}
		}
		next := distrust
		if err := k.reconcile(ctx); err == nil {
			retry = gather
		} else if ctx.Err() == nil {
			k.env.Log.Error("services of this node are not up to date", "err", err, "retry", retry)
			next, retry = retry, min(2*retry, maxRetry)
		}
		again.Reset(next)
		pause := time.NewTimer(gather)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

func (k *keeper) reconcile(ctx context.Context) error {
	services, err := k.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	all, err := k.slices.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing endpoint slices: %w", err)
	}
	of := make(map[types.NamespacedName][]*discoveryv1.EndpointSlice, len(services))
	for _, s := range all {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			key := types.NamespacedName{Namespace: s.Namespace, Name: name}
			of[key] = append(of[key], s)
		}
	}
	var errs []error
	for f, t := range k.tables {
		want := desired(f, k.facts(f), services, of)
		if err := t.sync(ctx, want); err != nil {
			errs = append(errs, err)
			continue
		}
		changed := udpChanged(k.last[f], want)
		k.last[f] = want
		if err := forgetFlows(f, changed); err != nil {
			// Only flows that exist already suffer, until they are quiet for a while.
			k.env.Log.Warn("old UDP flows may go to endpoints that are gone", "err", err)
		}
	}
	return errors.Join(errs...)
}

// facts of this node, as far as they are known by now.
func (k *keeper) facts(family corev1.IPFamily) nodeFacts {
	out := nodeFacts{name: k.env.Node}
	calls, err := os.ReadFile(bridgeCalls[family])
	out.bridged = err != nil || !bytes.Equal(bytes.TrimSpace(calls), []byte("1"))
	node, err := k.nodes.Get(k.env.Node)
	if err != nil {
		return out // not registered yet
	}
	for _, c := range node.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(c); err == nil {
			out.podCIDRs = append(out.podCIDRs, p)
		}
	}
	return out
}

// project keeps of an object only what rules are made of.
func project(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Service:
		out := &corev1.Service{ObjectMeta: identity(o.ObjectMeta)}
		out.Spec = corev1.ServiceSpec{
			Type: o.Spec.Type, Ports: o.Spec.Ports, ClusterIP: o.Spec.ClusterIP, ClusterIPs: o.Spec.ClusterIPs,
			ExternalIPs: o.Spec.ExternalIPs, LoadBalancerSourceRanges: o.Spec.LoadBalancerSourceRanges,
			SessionAffinity: o.Spec.SessionAffinity, SessionAffinityConfig: o.Spec.SessionAffinityConfig,
			InternalTrafficPolicy: o.Spec.InternalTrafficPolicy, ExternalTrafficPolicy: o.Spec.ExternalTrafficPolicy,
		}
		out.Status.LoadBalancer.Ingress = o.Status.LoadBalancer.Ingress
		return out, nil
	case *discoveryv1.EndpointSlice:
		out := &discoveryv1.EndpointSlice{ObjectMeta: identity(o.ObjectMeta), AddressType: o.AddressType, Ports: o.Ports}
		if name, ok := o.Labels[discoveryv1.LabelServiceName]; ok {
			out.Labels = map[string]string{discoveryv1.LabelServiceName: name}
		}
		out.Endpoints = make([]discoveryv1.Endpoint, len(o.Endpoints))
		for i, e := range o.Endpoints {
			out.Endpoints[i] = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName}
		}
		return out, nil
	case *corev1.Node:
		out := &corev1.Node{ObjectMeta: identity(o.ObjectMeta)}
		out.Spec.PodCIDRs = o.Spec.PodCIDRs
		return out, nil
	default:
		return obj, nil
	}
}

func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
}
