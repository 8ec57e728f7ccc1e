package defaults

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Controller keeps one object of a fixed name in every namespace.
type Controller struct {
	loop       *control.Loop
	namespaces corelisters.NamespaceLister
	objects    cache.SharedIndexInformer
	watches    control.Watches
}

// NewServiceAccounts returns the controller of the default ServiceAccounts.
func NewServiceAccounts(kit control.Kit) (*Controller, error) {
	c := &Controller{}
	c.objects = named(kit, ServiceAccount, func(k control.Kit, tweak func(*metav1.ListOptions)) cache.SharedIndexInformer {
		return coreinformers.NewFilteredServiceAccountInformer(k.Client, metav1.NamespaceAll, 0, cache.Indexers{}, tweak)
	})
	return c, c.init(kit, "serviceaccount", func(ctx context.Context, namespace string, present any) error {
		if present != nil {
			return nil
		}
		_, err := kit.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, serviceAccount(namespace), metav1.CreateOptions{})
		return err
	})
}

// NewRootCA returns the controller that publishes a PEM bundle to every namespace.
func NewRootCA(kit control.Kit, pem string) (*Controller, error) {
	c := &Controller{}
	c.objects = named(kit, RootCA, func(k control.Kit, tweak func(*metav1.ListOptions)) cache.SharedIndexInformer {
		return coreinformers.NewFilteredConfigMapInformer(k.Client, metav1.NamespaceAll, 0, cache.Indexers{}, tweak)
	})
	return c, c.init(kit, "rootca", func(ctx context.Context, namespace string, present any) error {
		maps := kit.Client.CoreV1().ConfigMaps(namespace)
		if present == nil {
			_, err := maps.Create(ctx, rootCA(namespace, pem), metav1.CreateOptions{})
			return err
		}
		if rootCAStands(present.(*v1.ConfigMap), pem) {
			return nil
		}
		want := rootCA(namespace, pem)
		want.UID = present.(*v1.ConfigMap).UID
		_, err := maps.Update(ctx, want, metav1.UpdateOptions{})
		return err
	})
}

func named(kit control.Kit, name string, newInformer func(control.Kit, func(*metav1.ListOptions)) cache.SharedIndexInformer) cache.SharedIndexInformer {
	informer := newInformer(kit, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	})
	// It can't fail before the informer runs.
	_ = informer.SetTransform(control.Trim)
	return informer
}

func (c *Controller) init(kit control.Kit, name string, ensure func(ctx context.Context, namespace string, present any) error) error {
	namespaces := kit.Informers.Core().V1().Namespaces()
	c.namespaces = namespaces.Lister()
	object := ServiceAccount
	if name == "rootca" {
		object = RootCA
	}
	c.loop = control.NewLoop(name, kit.Log, func(ctx context.Context, namespace string) error {
		ns, err := c.namespaces.Get(namespace)
		if err != nil || !needsDefaults(ns) {
			return nil //nolint:nilerr // a namespace that is not there needs nothing
		}
		present, _, err := c.objects.GetStore().GetByKey(namespace + "/" + object)
		if err != nil {
			return err
		}
		err = ensure(ctx, namespace, present)
		switch {
		case err == nil, apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err),
			apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause):
			return nil
		}
		return fmt.Errorf("%s of namespace %s: %w", object, namespace, err)
	})
	owner := func(m metav1.Object) { c.loop.Add(m.GetNamespace()) }
	return c.watches.Add("the controller of "+object, control.Handlers{
		namespaces.Informer(): control.Seen(c.loop.AddObject),
		c.objects:             cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, obj any) { owner(obj.(metav1.Object)) }, DeleteFunc: control.OnGone(owner)},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.objects.RunWithContext(ctx)
	}()
	c.watches.Run(ctx, c.loop.Workers(2))
	<-stopped
}
