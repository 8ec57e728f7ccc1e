package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Loop is the reconcile loop that most controllers are: it calls Reconcile for each object of
// a type when the object has come, changed or gone, and again after errors, later each time.
// A Run that needs no more is
//
//	return controller.Loop{Resource: widgets, Reconcile: r.reconcile}.Run(ctx, env)
//
// It keeps the metadata of the objects in memory and nothing else of them. Controllers that
// need more (controller-runtime, informers of client-go) use that instead; env.Config is an
// ordinary client-go configuration.
type Loop struct {
	// Resource is the type whose objects are reconciled.
	Resource schema.GroupVersionResource
	// Owns are types whose objects have such an object as their controlling owner; a change
	// of theirs reconciles it.
	Owns []schema.GroupVersionResource
	// Namespace limits all of it to one; empty for all.
	Namespace string
	// Selector limits the objects of Resource by their labels; empty for all.
	Selector string
	// Workers reconcile at the same time, never two the same object. 1 where zero.
	Workers int
	// Resync is the time after which each object is reconciled though nothing has changed;
	// 0 for never.
	Resync time.Duration
	// Reconcile brings the world to what the object says. It reads the object itself, as it
	// is by then; an object that is not found was deleted. An error is logged and tried again.
	Reconcile func(ctx context.Context, key types.NamespacedName) error
}

// Run runs the loop until ctx is cancelled, and returns when the last Reconcile has.
func (l Loop) Run(ctx context.Context, env plugin.Env) error {
	client, err := metadata.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return l.run(ctx, client, env.Log)
}

type queue = workqueue.TypedRateLimitingInterface[types.NamespacedName]

func (l Loop) run(ctx context.Context, client metadata.Interface, log *slog.Logger) error {
	if l.Resource.Resource == "" || l.Reconcile == nil {
		return errors.New("controller.Loop: Resource and Reconcile are needed")
	}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	stop := context.AfterFunc(ctx, q.ShutDown)
	defer stop()
	objects := l.informer(client, l.Resource, l.Selector)
	add := func(o any) {
		if m := meta(o); m != nil {
			q.Add(types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()})
		}
	}
	if err := onChange(objects, add); err != nil {
		return fmt.Errorf("watch %s: %w", l.Resource.GroupResource(), err)
	}
	all := []cache.SharedIndexInformer{objects}
	for _, gvr := range l.Owns {
		owned := l.informer(client, gvr, "")
		if err := onChange(owned, func(o any) { addOwner(q, objects.GetStore(), o) }); err != nil {
			return fmt.Errorf("watch %s: %w", gvr.GroupResource(), err)
		}
		all = append(all, owned)
	}
	var running sync.WaitGroup
	for _, informer := range all {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	for range max(1, l.Workers) {
		running.Go(func() { l.work(ctx, q, log) })
	}
	running.Wait()
	return ctx.Err()
}

func (l Loop) informer(client metadata.Interface, gvr schema.GroupVersionResource, selector string) cache.SharedIndexInformer {
	objects := client.Resource(gvr).Namespace(l.Namespace)
	// client-go's own constructor is in a package that has the informers, and so the clients, of
	// all Kubernetes kinds.
	i := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return objects.Watch(ctx, o)
		},
	}, client), &metav1.PartialObjectMetadata{}, l.Resync, cache.Indexers{})
	// Nobody reads these, and they are most of an object's metadata. The error says that the
	// informer was started, which it was not.
	_ = i.SetTransform(func(o any) (any, error) {
		if m, ok := o.(metav1.Object); ok {
			m.SetManagedFields(nil)
			m.SetAnnotations(nil)
		}
		return o, nil
	})
	return i
}

func onChange(i cache.SharedIndexInformer, do func(any)) error {
	_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: do, UpdateFunc: func(_, o any) { do(o) }, DeleteFunc: do,
	})
	return err
}

func meta(o any) metav1.Object {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	m, _ := o.(metav1.Object)
	return m
}

// addOwner adds the object that controls o, if it is one of ours. Where ours are not known yet,
// each will be added when it is.
func addOwner(q queue, ours cache.Store, o any) {
	m := meta(o)
	if m == nil {
		return
	}
	ref := metav1.GetControllerOfNoCopy(m)
	if ref == nil {
		return
	}
	for _, key := range []types.NamespacedName{{Namespace: m.GetNamespace(), Name: ref.Name}, {Name: ref.Name}} {
		name := key.Name
		if key.Namespace != "" {
			name = key.String()
		}
		found, ok, _ := ours.GetByKey(name)
		if owner := meta(found); ok && owner != nil && owner.GetUID() == ref.UID {
			q.Add(key)
			return
		}
	}
}

func (l Loop) work(ctx context.Context, q queue, log *slog.Logger) {
	for {
		key, shutdown := q.Get()
		if shutdown {
			return
		}
		err := l.Reconcile(ctx, key)
		switch {
		case err == nil:
			q.Forget(key)
		case ctx.Err() == nil:
			log.Warn("reconcile", "resource", l.Resource.GroupResource().String(), "object", key.String(), "error", err)
			q.AddRateLimited(key)
		}
		q.Done(key)
	}
}
