package resourcequota

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// resync is how often everything is counted again.
	resync = 5 * time.Minute
	// verify is how long after a charge it is counted whether what was charged is there.
	verify = 5 * time.Second
)

// Controller counts what quotas limit.
type Controller struct {
	kit      control.Kit
	loop     *control.Loop
	quotas   corelisters.ResourceQuotaLister
	counter  *counter
	monitors *monitors
	watches  control.Watches

	mu   sync.Mutex
	seen map[string]observation
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit, meta metadata.Interface) (*Controller, error) {
	core := kit.Informers.Core().V1()
	types := newResolver(kit.Client.Discovery())
	c := &Controller{
		kit: kit, quotas: core.ResourceQuotas().Lister(), seen: map[string]observation{},
		counter: &counter{client: kit.Client, meta: meta, types: types},
	}
	c.loop = control.NewLoop("resourcequota", kit.Log, c.sync)
	c.monitors = &monitors{
		log: kit.Log, meta: meta, types: types, notify: c.replenish,
		shared: map[schema.GroupResource]cache.SharedIndexInformer{
			quota.Pods: core.Pods().Informer(), quota.Services: core.Services().Informer(),
		},
		wanted: map[string][]schema.GroupResource{}, running: map[schema.GroupResource]func(){},
	}
	return c, c.watches.Add("the ResourceQuota controller", control.Handlers{
		core.ResourceQuotas().Informer(): cache.ResourceEventHandlerFuncs{AddFunc: c.loop.AddObject, UpdateFunc: c.update, DeleteFunc: c.loop.AddObject},
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	c.watches.Run(ctx, c.loop.Workers(5))
	c.monitors.wg.Wait()
}

func (c *Controller) update(old, obj any) {
	was, ok := old.(*v1.ResourceQuota)
	q, okNow := obj.(*v1.ResourceQuota)
	if !ok || !okNow {
		return
	}
	key, _ := control.Key(q)
	switch {
	case !quota.Equal(was.Spec.Hard, q.Spec.Hard) || !quota.Equal(q.Spec.Hard, q.Status.Hard):
		c.loop.Add(key)
	case !quota.Equal(was.Status.Used, q.Status.Used):
		c.loop.AddAfter(key, verify)
	}
}

// replenish has the quotas of a namespace counted again that count a type.
func (c *Controller) replenish(gr schema.GroupResource, namespace string, what change) {
	quotas, err := c.quotas.ResourceQuotas(namespace).List(labels.Everything())
	if namespace == "" {
		quotas, err = c.quotas.List(labels.Everything())
	}
	if err != nil {
		return // a lister over a cache has none
	}
	for _, q := range quotas {
		if !slices.Contains(quota.Counted(quota.Names(q.Spec.Hard)), gr) {
			continue
		}
		key, _ := control.Key(q)
		if what == changed && gr == quota.Pods {
			c.loop.AddAfter(key, verify)
			continue
		}
		c.loop.Add(key)
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	quotas := c.kit.Client.CoreV1().ResourceQuotas(namespace)
	// The count must not be older than the quota, so both are asked for, in this order.
	q, err := quotas.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		c.forget(key)
		return c.monitors.want(ctx, key, nil)
	}
	if err != nil {
		return err
	}
	age := c.age(key, q.ResourceVersion)
	if err := c.monitors.want(ctx, key, quota.Counted(quota.Names(q.Spec.Hard))); err != nil {
		return err
	}
	counted, failure := c.counter.count(ctx, q)
	d := decide(q, counted, age)
	if d.write {
		q.Status = d.status
		if _, err := quotas.UpdateStatus(ctx, q, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	if failure != nil {
		return failure
	}
	if d.again == 0 {
		d.again = resync
	}
	c.loop.AddAfter(key, d.again)
	return nil
}

// age is how long a quota has been seen to be as it is.
func (c *Controller) age(key, resourceVersion string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.seen[key]; ok && o.resourceVersion == resourceVersion {
		return time.Since(o.at)
	}
	c.seen[key] = observation{resourceVersion, time.Now()}
	return 0
}

func (c *Controller) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, key)
}
