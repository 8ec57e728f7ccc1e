package endpoints

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/endpointslice/util"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// base is what both controllers have in common: they look at a Service when it or one of
// its pods changes.
type base struct {
	kit      control.Kit
	loop     *control.Loop
	services corelisters.ServiceLister
	pods     corelisters.PodLister
	synced   []cache.InformerSynced
}

func (b *base) init(kit control.Kit, name string, sync func(ctx context.Context, namespace, name string) error) error {
	services, pods := kit.Informers.Core().V1().Services(), kit.Informers.Core().V1().Pods()
	b.kit, b.services, b.pods = kit, services.Lister(), pods.Lister()
	b.loop = control.NewLoop(name, kit.Log, func(ctx context.Context, key string) error {
		namespace, name, err := cache.SplitMetaNamespaceKey(key)
		if err != nil {
			return nil //nolint:nilerr // not a key of ours; trying again would not help
		}
		return sync(ctx, namespace, name)
	})
	if err := b.watch(services.Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc: b.loop.AddObject, UpdateFunc: func(_, obj any) { b.loop.AddObject(obj) }, DeleteFunc: b.loop.AddObject,
	}); err != nil {
		return err
	}
	return b.watch(pods.Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { b.podChanged(nil, obj) },
		UpdateFunc: b.podChanged,
		DeleteFunc: func(obj any) {
			if p, ok := control.Gone[*v1.Pod](obj); ok {
				b.podChanged(nil, p)
			}
		},
	})
}

func (b *base) watch(informer cache.SharedIndexInformer, h cache.ResourceEventHandler) error {
	registration, err := informer.AddEventHandler(h)
	if err != nil {
		return fmt.Errorf("watch for endpoints: %w", err)
	}
	b.synced = append(b.synced, registration.HasSynced)
	return nil
}

// podChanged asks for attention to the Services that a pod belongs or belonged to.
func (b *base) podChanged(old, obj any) {
	key := util.GetPodUpdateProjectionKey(old, obj)
	if key == nil {
		return // nothing that endpoints show
	}
	services, err := util.GetServicesToUpdate(b.services, key)
	if err != nil {
		return // a cache does not fail
	}
	for service := range services {
		b.loop.Add(service)
	}
}

// Run works until ctx is cancelled.
func (b *base) Run(ctx context.Context) {
	if cache.WaitForCacheSync(ctx.Done(), b.synced...) {
		b.loop.Run(ctx, 3)
	}
}
