package endpoints

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/endpointslice"
	"k8s.io/endpointslice/util"
	"k8s.io/klog/v2"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	slicesName = "endpointslice-controller.k8s.io"
	// perSlice is how many endpoints one slice holds.
	perSlice = 100
)

// Slices keeps the EndpointSlices of Services. What goes into a slice is decided by
// k8s.io/endpointslice.
type Slices struct {
	base
	slices     discoverylisters.EndpointSliceLister
	tracker    *util.EndpointSliceTracker
	reconciler *endpointslice.Reconciler
	events     record.EventRecorder
}

// NewSlices returns the controller. The informers of kit must not have been started.
func NewSlices(kit control.Kit) (*Slices, error) {
	informer := kit.Informers.Discovery().V1().EndpointSlices()
	c := &Slices{slices: informer.Lister(), tracker: util.NewEndpointSliceTracker(), events: kit.Events("endpoint-slice-controller")}
	nodes := kit.Informers.Core().V1().Nodes()
	c.reconciler = endpointslice.NewReconciler(kit.Client, nodes.Lister(), perSlice, c.tracker, nil, c.events, slicesName)
	if err := c.init(kit, "endpointslice", c.sync); err != nil {
		return nil, err
	}
	return c, c.watches.Add("endpoints", control.Handlers{
		// Endpoints of pods on nodes that are not known yet wait for the node.
		nodes.Informer(): nil,
		informer.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { c.sliceChanged(obj.(*discoveryv1.EndpointSlice)) },
			UpdateFunc: func(old, obj any) {
				a, b := old.(*discoveryv1.EndpointSlice), obj.(*discoveryv1.EndpointSlice)
				if a.Labels[discoveryv1.LabelServiceName] != b.Labels[discoveryv1.LabelServiceName] || c.reconciler.ManagedByChanged(a, b) {
					c.wake(a)
					c.wake(b)
					return
				}
				c.sliceChanged(b)
			},
			DeleteFunc: control.OnGone(func(s *discoveryv1.EndpointSlice) {
				if c.reconciler.ManagedByController(s) && c.tracker.Has(s) && !c.tracker.HandleDeletion(s) {
					c.wake(s)
				}
			}),
		},
	})
}

// sliceChanged looks after slices that somebody else has changed.
func (c *Slices) sliceChanged(s *discoveryv1.EndpointSlice) {
	if c.reconciler.ManagedByController(s) && c.tracker.ShouldSync(s) {
		c.wake(s)
	}
}

func (c *Slices) wake(s *discoveryv1.EndpointSlice) {
	if service := s.Labels[discoveryv1.LabelServiceName]; service != "" {
		c.loop.Add(s.Namespace + "/" + service)
	}
}

var errStale = errors.New("the cache does not show all slices written before yet")

func (c *Slices) sync(ctx context.Context, namespace, name string) error {
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		// The slices are its dependents; the garbage collector deletes them.
		c.reconciler.DeleteService(namespace, name)
		c.tracker.DeleteService(namespace, name)
		return nil
	}
	if err != nil {
		return err
	}
	if service.Spec.Type == v1.ServiceTypeExternalName || service.Spec.Selector == nil {
		return nil
	}
	pods, err := c.pods.Pods(namespace).List(labels.Set(service.Spec.Selector).AsSelectorPreValidated())
	if err != nil {
		return err
	}
	all, err := c.slices.EndpointSlices(namespace).List(labels.Set{
		discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: slicesName,
	}.AsSelectorPreValidated())
	if err != nil {
		return err
	}
	existing := make([]*discoveryv1.EndpointSlice, 0, len(all))
	for _, s := range all {
		if s.DeletionTimestamp == nil {
			existing = append(existing, s)
		}
	}
	if c.tracker.StaleSlices(service, existing) {
		return errStale
	}
	err = c.reconciler.Reconcile(klog.FromContext(ctx), service, pods, existing, time.Time{})
	if err == nil || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil
	}
	c.events.Eventf(service, v1.EventTypeWarning, "FailedToUpdateEndpointSlices",
		"Error updating Endpoint Slices for Service %s/%s: %v", namespace, name, err)
	return fmt.Errorf("slices of Service %s/%s: %w", namespace, name, err)
}
