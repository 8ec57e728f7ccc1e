package endpoints

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Endpoints keeps the Endpoints of Services.
type Endpoints struct {
	base
	endpoints corelisters.EndpointsLister
	events    record.EventRecorder
}

// NewEndpoints returns the controller. The informers of kit must not have been started.
func NewEndpoints(kit control.Kit) (*Endpoints, error) {
	informer := kit.Informers.Core().V1().Endpoints()
	c := &Endpoints{endpoints: informer.Lister(), events: kit.Events("endpoint-controller")}
	if err := c.init(kit, "endpoints", c.sync); err != nil {
		return nil, err
	}
	// Those whose Service went while nobody looked are found by their own first listing.
	return c, c.watches.Add("endpoints", control.Handlers{
		informer.Informer(): cache.ResourceEventHandlerFuncs{AddFunc: c.loop.AddObject, DeleteFunc: c.loop.AddObject},
	})
}

func (c *Endpoints) sync(ctx context.Context, namespace, name string) error {
	client := c.kit.Client.CoreV1().Endpoints(namespace)
	existing, err := c.endpoints.Endpoints(namespace).Get(name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		if existing == nil || existing.Labels[managedByKey] != managedBy {
			return nil
		}
		err = client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(existing.UID))})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
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
	want := desired(service, pods, existing)
	switch {
	case existing == nil:
		_, err = client.Create(ctx, want, metav1.CreateOptions{})
	case !same(existing, want):
		_, err = client.Update(ctx, want, metav1.UpdateOptions{})
	}
	if err == nil || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil
	}
	if apierrors.IsConflict(err) {
		return err // the cache lagged behind; nobody needs to know
	}
	if existing == nil {
		c.events.Eventf(service, v1.EventTypeWarning, "FailedToCreateEndpoint", "Failed to create endpoint for service %v/%v: %v", namespace, name, err)
	} else {
		c.events.Eventf(service, v1.EventTypeWarning, "FailedToUpdateEndpoint", "Failed to update endpoint %v/%v: %v", namespace, name, err)
	}
	return fmt.Errorf("endpoints of Service %s/%s: %w", namespace, name, err)
}
