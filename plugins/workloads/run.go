package workloads

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/defaults"
	"github.com/pintle-dev/pintle/plugins/workloads/volumes"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// runner is a controller that has been built. Run returns soon after ctx is cancelled.
type runner interface {
	Run(ctx context.Context)
}

// Run runs the controllers until ctx is cancelled.
func (w *Workloads) Run(ctx context.Context, env plugin.Env) error {
	log := env.Log
	if log == nil {
		log = slog.Default()
	}
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
	config := rest.CopyConfig(env.Config)
	if config.UserAgent == "" {
		config.UserAgent = "pintle-workloads"
	}
	if config.QPS == 0 && config.RateLimiter == nil {
		// The server has a flow control of its own.
		config.QPS = -1
	}
	// Warnings are for people who wrote an object; here they repeat with every list.
	config.WarningHandler, config.WarningHandlerWithContext = rest.NoWarnings{}, nil
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&corev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	kit := control.Kit{
		Client:    client,
		Informers: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(control.Trim)),
		Events: func(component string) record.EventRecorder {
			return broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: component})
		},
		Log: log,
	}
	runners, err := w.build(kit, meta, config, volumes.NewPlugins(env, log))
	if err != nil {
		return err
	}
	kit.Informers.StartWithContext(ctx)
	var wg sync.WaitGroup
	for _, r := range runners {
		wg.Go(func() { r.Run(ctx) })
	}
	log.Info("controllers are running", "number", len(runners))
	wg.Wait()
	kit.Informers.Shutdown()
	return nil
}

// build makes the controllers that are not disabled.
func (w *Workloads) build(kit control.Kit, meta metadata.Interface, config *rest.Config, storages *volumes.Plugins) ([]runner, error) {
	var out []runner
	for _, m := range makers() {
		if !w.settings.enabled(m.name) {
			continue
		}
		r, err := m.make(parts{Kit: kit, meta: meta, config: config, storages: storages, settings: w.settings})
		if err != nil {
			return nil, fmt.Errorf("controller %s: %w", m.name, err)
		}
		if r != nil {
			out = append(out, r)
		}
	}
	return out, nil
}

// sharedInformers are those that other controllers need anyway.
func sharedInformers(kit control.Kit) map[schema.GroupVersionResource]cache.SharedIndexInformer {
	core, apps := kit.Informers.Core().V1(), kit.Informers.Apps().V1()
	return map[schema.GroupVersionResource]cache.SharedIndexInformer{
		v1.SchemeGroupVersion.WithResource("pods"):                   core.Pods().Informer(),
		v1.SchemeGroupVersion.WithResource("nodes"):                  core.Nodes().Informer(),
		v1.SchemeGroupVersion.WithResource("namespaces"):             core.Namespaces().Informer(),
		v1.SchemeGroupVersion.WithResource("services"):               core.Services().Informer(),
		appsv1.SchemeGroupVersion.WithResource("replicasets"):        apps.ReplicaSets().Informer(),
		v1.SchemeGroupVersion.WithResource("replicationcontrollers"): core.ReplicationControllers().Informer(),
		appsv1.SchemeGroupVersion.WithResource("statefulsets"):       apps.StatefulSets().Informer(),
		appsv1.SchemeGroupVersion.WithResource("daemonsets"):         apps.DaemonSets().Informer(),
		appsv1.SchemeGroupVersion.WithResource("deployments"):        apps.Deployments().Informer(),
	}
}

// rootCA makes the publisher of the root CA, nil where there is no CA to publish.
func rootCA(p parts) (runner, error) {
	pem, config := p.settings.RootCA, p.config
	switch {
	case pem != "":
	case len(config.CAData) > 0:
		pem = string(config.CAData)
	case config.CAFile != "":
		b, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA of the API server: %w", err)
		}
		pem = string(b)
	default:
		p.Log.Warn("no root CA is published: settings have no rootCA and the connection to the API server has none")
		return nil, nil
	}
	return defaults.NewRootCA(p.Kit, pem)
}
