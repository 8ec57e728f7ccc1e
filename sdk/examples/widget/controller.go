package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// Run implements controller.Controller with nothing but client-go.
func (p *widgetPlugin) Run(ctx context.Context, env plugin.Env) error {
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	r := &reconciler{client: client, greeting: p.settings.Greeting, log: env.Log}
	return r.run(ctx)
}

type reconciler struct {
	client   dynamic.Interface
	greeting string
	log      *slog.Logger
}

func (r *reconciler) run(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	defer queue.ShutDown()
	widgets := r.client.Resource(gvr)
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return widgets.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return widgets.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, 10*time.Minute, cache.Indexers{})
	enqueue := func(o any) {
		if u, ok := o.(*unstructured.Unstructured); ok {
			queue.Add(types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()})
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, o any) { enqueue(o) },
	}); err != nil {
		return fmt.Errorf("watch widgets: %w", err)
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { informer.RunWithContext(ctx) })
	stop := context.AfterFunc(ctx, queue.ShutDown)
	defer stop()
	for {
		key, shutdown := queue.Get()
		if shutdown {
			return ctx.Err()
		}
		err := r.reconcile(ctx, key)
		switch {
		case err == nil:
			queue.Forget(key)
		case ctx.Err() == nil:
			r.log.Warn("reconcile widget", "widget", key.String(), "error", err)
			queue.AddRateLimited(key)
		}
		queue.Done(key)
	}
}

// reconcile brings one widget's ConfigMap and status to what its spec says.
func (r *reconciler) reconcile(ctx context.Context, key types.NamespacedName) error {
	u, err := r.client.Resource(gvr).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && u.GetDeletionTimestamp() != nil {
		return nil // the ConfigMap goes with its owner
	}
	if err != nil {
		return err
	}
	size, _, _ := unstructured.NestedInt64(u.Object, "spec", "size")
	colour, _, _ := unstructured.NestedString(u.Object, "spec", "colour")
	want := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "widget-" + key.Name, Namespace: key.Namespace,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(u, gvr.GroupVersion().WithKind("Widget"))},
		},
		Data: map[string]string{"message": fmt.Sprintf("%s from a %s widget of size %d", r.greeting, colour, size)},
	}
	if err := r.ensure(ctx, want); err != nil {
		return fmt.Errorf("config map: %w", err)
	}
	if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase == "Ready" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"phase": "Ready", "configMap": want.Name}})
	if err != nil {
		return err
	}
	_, err = r.client.Resource(gvr).Namespace(key.Namespace).
		Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (r *reconciler) ensure(ctx context.Context, want *corev1.ConfigMap) error {
	maps := r.client.Resource(configMaps).Namespace(want.Namespace)
	have, err := maps.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
		if err != nil {
			return err
		}
		_, err = maps.Create(ctx, &unstructured.Unstructured{Object: tree}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if message, _, _ := unstructured.NestedString(have.Object, "data", "message"); message == want.Data["message"] {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": want.Data})
	if err != nil {
		return err
	}
	_, err = maps.Patch(ctx, want.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
