package endpoints

import (
	"context"

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
	watches  control.Watches
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
	return b.watches.Add("endpoints", control.Handlers{
		services.Informer(): control.Touched(b.loop.AddObject),
		pods.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { b.podChanged(nil, obj) },
			UpdateFunc: b.podChanged,
			DeleteFunc: control.OnGone(func(p *v1.Pod) { b.podChanged(nil, p) }),
		},
	})
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
func (b *base) Run(ctx context.Context) { b.watches.Run(ctx, b.loop.Workers(3)) }
