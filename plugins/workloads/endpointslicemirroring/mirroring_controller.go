package endpointslicemirroring

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/endpointslice/util"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller mirrors Endpoints.
type Controller struct {
	kit       control.Kit
	loop      *control.Loop
	events    record.EventRecorder
	endpoints corelisters.EndpointsLister
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	tracker   *util.EndpointSliceTracker
	watches   control.Watches
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit) (*Controller, error) {
	endpoints, services := kit.Informers.Core().V1().Endpoints(), kit.Informers.Core().V1().Services()
	slices := kit.Informers.Discovery().V1().EndpointSlices()
	c := &Controller{
		kit: kit, events: kit.Events("endpoint-slice-mirroring-controller"), endpoints: endpoints.Lister(), services: services.Lister(),
		slices: slices.Lister(), tracker: util.NewEndpointSliceTracker(),
	}
	c.loop = control.NewLoop("endpointslicemirroring", kit.Log, c.sync)
	return c, c.watches.Add("the mirroring of Endpoints", control.Handlers{
		endpoints.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.changed(nil, obj.(*v1.Endpoints)) },
			UpdateFunc: func(old, obj any) { c.changed(old.(*v1.Endpoints), obj.(*v1.Endpoints)) },
			DeleteFunc: control.OnGone(func(e *v1.Endpoints) { c.changed(nil, e) }),
		},
		services.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.serviceChanged(obj.(*v1.Service)) },
			UpdateFunc: func(old, obj any) { c.serviceUpdated(old.(*v1.Service), obj.(*v1.Service)) },
			DeleteFunc: control.OnGone(c.serviceChanged),
		},
		slices.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.sliceChanged(obj.(*discoveryv1.EndpointSlice)) },
			UpdateFunc: func(old, obj any) { c.sliceUpdated(old.(*discoveryv1.EndpointSlice), obj.(*discoveryv1.EndpointSlice)) },
			DeleteFunc: control.OnGone(func(s *discoveryv1.EndpointSlice) {
				if mine(s) && c.tracker.Has(s) && !c.tracker.HandleDeletion(s) {
					c.wake(s)
				}
			}),
		},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(2)) }

func (c *Controller) changed(old, e *v1.Endpoints) {
	if mirrored(e) || (old != nil && mirrored(old)) {
		c.loop.AddObject(e)
	}
}

func (c *Controller) serviceChanged(s *v1.Service) {
	if s.Spec.Selector == nil {
		c.loop.AddObject(s)
	}
}

func (c *Controller) serviceUpdated(old, s *v1.Service) {
	if (old.Spec.Selector == nil) != (s.Spec.Selector == nil) {
		c.loop.AddObject(s)
	}
}

func mine(s *discoveryv1.EndpointSlice) bool {
	return s.Labels[discoveryv1.LabelManagedBy] == managedBy
}

// sliceChanged looks after slices that somebody else has changed.
func (c *Controller) sliceChanged(s *discoveryv1.EndpointSlice) {
	if mine(s) && c.tracker.ShouldSync(s) {
		c.wake(s)
	}
}

func (c *Controller) sliceUpdated(old, s *discoveryv1.EndpointSlice) {
	if mine(old) != mine(s) || (mine(s) && old.Labels[discoveryv1.LabelServiceName] != s.Labels[discoveryv1.LabelServiceName]) {
		c.wake(old)
		c.wake(s)
		return
	}
	c.sliceChanged(s)
}

func (c *Controller) wake(s *discoveryv1.EndpointSlice) {
	if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
		c.loop.Add(s.Namespace + "/" + name)
	}
}

var errStale = errors.New("the cache does not show all slices written before yet")

func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	existing, err := c.slices.EndpointSlices(namespace).List(labels.Set{
		discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: managedBy,
	}.AsSelectorPreValidated())
	if err != nil {
		return err
	}
	e, service, err := c.source(namespace, name)
	if err != nil {
		return err
	}
	if e == nil {
		c.tracker.DeleteService(namespace, name)
		var failures []error
		for _, s := range existing {
			failures = append(failures, c.remove(ctx, s))
		}
		return errors.Join(failures...)
	}
	if c.tracker.StaleSlices(service, existing) {
		return errStale
	}
	d := wanted(e)
	if d.invalid > 0 {
		c.events.Eventf(e, v1.EventTypeWarning, "InvalidIPAddress", "Skipped %d invalid IP addresses when mirroring to EndpointSlices", d.invalid)
	}
	if d.skipped > d.invalid {
		c.events.Eventf(e, v1.EventTypeWarning, "TooManyAddressesToMirror",
			"A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped", perSubset, d.skipped)
	}
	return c.write(ctx, e, decide(e, d, existing))
}

// source returns the Endpoints to be mirrored and their Service, nil if none are.
func (c *Controller) source(namespace, name string) (*v1.Endpoints, *v1.Service, error) {
	e, err := c.endpoints.Endpoints(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil || !mirrored(e) {
		return nil, nil, err
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil || service.Spec.Selector != nil {
		return nil, nil, err
	}
	return e, service, nil
}

func (c *Controller) write(ctx context.Context, e *v1.Endpoints, p plan) error {
	client := c.kit.Client.DiscoveryV1().EndpointSlices(e.Namespace)
	if e.DeletionTimestamp == nil {
		for _, s := range p.create {
			made, err := client.Create(ctx, s, metav1.CreateOptions{})
			if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("failed to create EndpointSlice for Endpoints %s/%s: %w", e.Namespace, e.Name, err)
			}
			c.tracker.Update(made)
		}
	}
	for _, s := range p.update {
		made, err := client.Update(ctx, s, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("failed to update %s EndpointSlice for Endpoints %s/%s: %w", s.Name, e.Namespace, e.Name, err)
		}
		c.tracker.Update(made)
	}
	for _, s := range p.remove {
		if err := c.remove(ctx, s); err != nil {
			return err
		}
		c.tracker.ExpectDeletion(s)
	}
	return nil
}

func (c *Controller) remove(ctx context.Context, s *discoveryv1.EndpointSlice) error {
	err := c.kit.Client.DiscoveryV1().EndpointSlices(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(s.UID)),
	})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("failed to delete %s EndpointSlice: %w", s.Name, err)
}
