package servicecidrs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	repairName = "ipallocator-repair-controller"
	// allocator is who manages the IPAddresses of services.
	allocator = "ipallocator.k8s.io"
	// settle is how long what belongs together may be seen apart: a service and its addresses
	// are written at once, and heard of by two watches.
	settle = 5 * time.Second
	// orphanGrace is how old an address without a service gets: a request lasts no longer.
	orphanGrace = time.Minute
	// portsPeriod is how often node ports are compared.
	portsPeriod = 3 * time.Minute
	workers     = 2
)

// Repair makes services and IPAddresses agree.
type Repair struct {
	kit      control.Kit
	byIP     *control.Loop
	byName   *control.Loop
	services corelisters.ServiceLister
	cidrs    networkinglisters.ServiceCIDRLister
	ips      networkinglisters.IPAddressLister
	events   record.EventRecorder
	watches  control.Watches
	now      func() time.Time
}

// NewRepair returns the controller. The informers of kit must not have been started.
func NewRepair(kit control.Kit) (*Repair, error) {
	services, networking := kit.Informers.Core().V1().Services(), kit.Informers.Networking().V1()
	c := &Repair{
		kit: kit, services: services.Lister(), cidrs: networking.ServiceCIDRs().Lister(), ips: networking.IPAddresses().Lister(),
		events: kit.Events(repairName), now: time.Now,
	}
	c.byIP = control.NewLoop(repairName+"/ipaddresses", kit.Log, c.syncIP)
	c.byName = control.NewLoop(repairName+"/services", kit.Log, c.syncService)
	return c, c.watches.Add("services and IPAddresses", control.Handlers{
		services.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.byName.AddObject,
			UpdateFunc: func(old, obj any) {
				was, is := old.(*v1.Service), obj.(*v1.Service)
				if was.UID != is.UID || !slices.Equal(was.Spec.ClusterIPs, is.Spec.ClusterIPs) {
					c.byName.AddObject(is)
					c.released(was, is)
				}
			},
			DeleteFunc: control.OnGone(func(s *v1.Service) { c.released(s, nil) }),
		},
		networking.IPAddresses().Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    c.byIP.AddObject,
			UpdateFunc: func(_, obj any) { c.byIP.AddObject(obj) },
			DeleteFunc: control.OnGone(c.lost),
		},
		networking.ServiceCIDRs().Informer(): nil,
	})
}

// Run works until ctx is cancelled.
func (c *Repair) Run(ctx context.Context) {
	c.watches.Run(ctx, c.comparePortsAlways, c.byIP.Workers(workers), c.byName.Workers(workers))
}

// comparePortsAlways compares node ports now and then.
func (c *Repair) comparePortsAlways(ctx context.Context) {
	ticker := time.NewTicker(portsPeriod)
	defer ticker.Stop()
	for c.comparePorts(); ctx.Err() == nil; {
		select {
		case <-ticker.C:
			c.comparePorts()
		case <-ctx.Done():
		}
	}
}

// released looks later at the addresses that a service has no more: the server deletes them.
func (c *Repair) released(was, is *v1.Service) {
	for _, ip := range was.Spec.ClusterIPs {
		if is == nil || !slices.Contains(is.Spec.ClusterIPs, ip) {
			if a, ok := parse(ip); ok {
				c.byIP.AddAfter(a.String(), settle)
			}
		}
	}
}

// lost looks later at the service of an IPAddress that is gone.
func (c *Repair) lost(ip *networkingv1.IPAddress) {
	if p := ip.Spec.ParentRef; p != nil && ofService(ip) {
		if _, err := c.services.Services(p.Namespace).Get(p.Name); err == nil {
			c.byName.AddAfter(p.Namespace+"/"+p.Name, settle)
		}
	}
}

// syncService sees to it that each address of a service has an IPAddress of it.
func (c *Repair) syncService(ctx context.Context, key string) error {
	s, found, err := control.Lookup(key, func(namespace, name string) (*v1.Service, error) { return c.services.Services(namespace).Get(name) })
	if !found || !hasIPs(s) {
		return err
	}
	for _, text := range s.Spec.ClusterIPs {
		ip, ok := parse(text)
		if !ok {
			c.warn(s, "ClusterIPNotValid", "Cluster IP %s is not a valid IP; please recreate Service", text)
			continue
		}
		if err := c.syncClusterIP(ctx, s, ip); err != nil {
			return err
		}
	}
	return nil
}

func (c *Repair) syncClusterIP(ctx context.Context, s *v1.Service, ip netip.Addr) error {
	in, err := c.inRange(ip)
	if err != nil {
		return err
	}
	if !in {
		c.warn(s, "ClusterIPOutOfRange", "Cluster IP [%v]: %s is not within any configured Service CIDR; please recreate service", family(ip), ip)
		return nil
	}
	o, err := c.ips.Get(ip.String())
	if apierrors.IsNotFound(err) {
		if left := settle - c.now().Sub(s.CreationTimestamp.Time); left > 0 {
			c.byName.AddAfter(s.Namespace+"/"+s.Name, left)
			return nil
		}
		// The cache may lag behind.
		o, err = c.kit.Client.NetworkingV1().IPAddresses().Get(ctx, ip.String(), metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		c.warn(s, "ClusterIPNotAllocated", "Cluster IP [%v]: %s is not allocated; repairing", family(ip), ip)
		return c.create(ctx, ip, s)
	}
	if err != nil {
		return fmt.Errorf("read IPAddress %s: %w", ip, err)
	}
	p := o.Spec.ParentRef
	switch {
	case !ofService(o):
		return c.wrong(ctx, o, ip, s)
	case p.Namespace != s.Namespace || p.Name != s.Name:
		other, err := c.services.Services(p.Namespace).Get(p.Name)
		if apierrors.IsNotFound(err) || err == nil && !slices.ContainsFunc(other.Spec.ClusterIPs, same(ip)) {
			return c.wrong(ctx, o, ip, s)
		}
		if err != nil {
			return err
		}
		c.warn(s, "ClusterIPAlreadyAllocated", "Cluster IP [%v]:%s was assigned to multiple services; please recreate service", family(ip), ip)
	case !managed(o) || o.Labels[networkingv1.LabelIPAddressFamily] != string(family(ip)):
		return c.recreate(ctx, o, ip, s)
	}
	return nil
}

func (c *Repair) wrong(ctx context.Context, o *networkingv1.IPAddress, ip netip.Addr, s *v1.Service) error {
	c.warn(s, "ClusterIPNotAllocated", "the ClusterIP [%v]: %s for Service %s/%s has a wrong reference; repairing", family(ip), ip, s.Namespace, s.Name)
	return c.recreate(ctx, o, ip, s)
}

func (c *Repair) recreate(ctx context.Context, o *networkingv1.IPAddress, ip netip.Addr, s *v1.Service) error {
	if err := c.remove(ctx, o); err != nil {
		return err
	}
	return c.create(ctx, ip, s)
}

func (c *Repair) create(ctx context.Context, ip netip.Addr, s *v1.Service) error {
	o := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip.String(), Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(family(ip)), networkingv1.LabelManagedBy: allocator}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: s.Namespace, Name: s.Name}},
	}
	if _, err := c.kit.Client.NetworkingV1().IPAddresses().Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create IPAddress %s of service %s/%s: %w", ip, s.Namespace, s.Name, err)
	}
	return nil
}

// remove deletes an IPAddress as it was seen.
func (c *Repair) remove(ctx context.Context, o *networkingv1.IPAddress) error {
	err := c.kit.Client.NetworkingV1().IPAddresses().Delete(ctx, o.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete IPAddress %s: %w", o.Name, err)
	}
	return nil
}

// syncIP sees to it that an IPAddress of the allocator belongs to a service.
func (c *Repair) syncIP(ctx context.Context, name string) error {
	o, err := c.ips.Get(name)
	if apierrors.IsNotFound(err) || err == nil && !managed(o) {
		return nil
	}
	if err != nil {
		return err
	}
	if !ofService(o) {
		c.warn(o, "IPAddressNotAllocated", "IPAddress %s appears to have been modified, not referencing a Service %v: cleaning up", o.Name, o.Spec.ParentRef)
		return c.remove(ctx, o)
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return nil //nolint:nilerr // no service has it
	}
	p, age := o.Spec.ParentRef, c.now().Sub(o.CreationTimestamp.Time)
	s, err := c.services.Services(p.Namespace).Get(p.Name)
	switch {
	case apierrors.IsNotFound(err):
		if c.wait(name, age, orphanGrace) {
			return nil
		}
	case err != nil:
		return err
	case slices.ContainsFunc(s.Spec.ClusterIPs, same(ip)):
		return nil
	case s.Spec.Type == v1.ServiceTypeExternalName && c.wait(name, age, orphanGrace):
		return nil // it may be about to get the address
	case c.wait(name, age, settle):
		return nil // so may others, and what was written may be taken back
	}
	// The cache may lag behind.
	s, err = c.kit.Client.CoreV1().Services(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.warn(o, "IPAddressNotAllocated", "IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", o.Name, p.Namespace, p.Name)
	case err != nil:
		return fmt.Errorf("read service %s/%s: %w", p.Namespace, p.Name, err)
	case slices.ContainsFunc(s.Spec.ClusterIPs, same(ip)):
		return nil
	default:
		c.warn(o, "IPAddressWrongReference", "IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", o.Name, s.Namespace, s.Name)
	}
	return c.remove(ctx, o)
}

// wait puts an IPAddress off that is younger than what it is given, first for a moment: most
// only wait for another watch.
func (c *Repair) wait(name string, age, grace time.Duration) bool {
	left := grace - age
	if left <= 0 {
		return false
	}
	if age < settle {
		left = min(left, settle)
	}
	c.byIP.AddAfter(name, left)
	return true
}

// comparePorts tells of node ports that two services have: the newer of them hears of it.
func (c *Repair) comparePorts() {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return
	}
	owners := map[int32]*v1.Service{}
	for _, s := range all {
		for _, port := range nodePorts(s) {
			first, newer := owners[port], s
			if first == nil || s.CreationTimestamp.Before(&first.CreationTimestamp) {
				owners[port], newer = s, first
			}
			if newer != nil {
				c.warn(newer, "PortAlreadyAllocated", "Port %d was assigned to multiple services; please recreate service", port)
			}
		}
	}
}

// inRange reports whether an address is in a ServiceCIDR; where there is none, nothing is known.
func (c *Repair) inRange(ip netip.Addr) (bool, error) {
	all, err := c.cidrs.List(labels.Everything())
	if err != nil || len(all) == 0 {
		return true, err
	}
	return slices.ContainsFunc(all, func(o *networkingv1.ServiceCIDR) bool { return contains(prefixes(o), ip) }), nil
}
