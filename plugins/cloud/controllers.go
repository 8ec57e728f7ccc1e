package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/controllers/node"
	"k8s.io/cloud-provider/controllers/nodelifecycle"
	"k8s.io/cloud-provider/controllers/route"
	"k8s.io/cloud-provider/controllers/service"
	"k8s.io/component-base/metrics/prometheus/controllers"
	"k8s.io/controller-manager/pkg/features"

	sdkcloud "github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// run runs the controllers for what the provider offers.
func (c *Cloud) run(ctx context.Context, env plugin.Env, services sdkcloud.Services, log *slog.Logger) error {
	config := rest.CopyConfig(env.Config)
	if config.QPS == 0 && config.RateLimiter == nil {
		config.QPS = -1 // the server has a flow control of its own
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	return c.runWith(ctx, client, services, log)
}

// gates says once in a process which features the controllers may ask for.
var gates = sync.OnceValue(func() error {
	return features.SetupCurrentKubernetesSpecificFeatureGates(utilfeature.DefaultMutableFeatureGate)
})

// work is one controller.
type work struct {
	name string
	// missing says why it can't run with this provider, empty where it can.
	missing string
	start   func() (func(context.Context), error)
}

func (c *Cloud) runWith(ctx context.Context, client kubernetes.Interface, services sdkcloud.Services, log *slog.Logger) error {
	if err := gates(); err != nil {
		return fmt.Errorf("features of the cloud controllers: %w", err)
	}
	shared := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	var running []func(context.Context)
	for _, w := range c.works(client, shared, provider{services}) {
		switch {
		case !c.settings.enabled(w.name):
			continue
		case w.missing != "":
			log.Info("a controller does not run", "controller", w.name, "reason", w.missing)
			continue
		}
		run, err := w.start()
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		running = append(running, run)
	}
	shared.StartWithContext(ctx)
	shared.WaitForCacheSyncWithContext(ctx)
	var all sync.WaitGroup
	for _, run := range running {
		all.Go(func() { run(ctx) })
	}
	log.Info("controllers are running", "number", len(running), "provider", services.Provider)
	<-ctx.Done()
	all.Wait()
	shared.Shutdown()
	return nil
}

// trim drops what takes most of the room and nobody here reads.
func trim(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// works lists the controllers.
func (c *Cloud) works(client kubernetes.Interface, shared informers.SharedInformerFactory, p cloudprovider.Interface) []work {
	nodes := shared.Core().V1().Nodes()
	metrics := controllers.NewControllerManagerMetrics("cloud")
	unless := func(has bool, why string) string {
		if has {
			return ""
		}
		return why
	}
	_, hasInstances := p.InstancesV2()
	_, hasBalancers := p.LoadBalancer()
	routes, hasRoutes := p.Routes()
	noInstances := unless(hasInstances, "the provider has no instances")
	noRoutes := unless(len(c.settings.ClusterCIDRs) > 0, "settings.clusterCIDRs is empty")
	if !hasRoutes {
		noRoutes = "the provider has no routes"
	}
	return []work{
		{nodeController, noInstances, func() (func(context.Context), error) {
			n, err := node.NewCloudNodeController(nodes, client, p, seconds(c.settings.NodeUpdatePeriodSeconds), 1, 1)
			return func(ctx context.Context) { n.RunWithContext(ctx, metrics) }, err
		}},
		{lifecycleController, noInstances, func() (func(context.Context), error) {
			n, err := nodelifecycle.NewCloudNodeLifecycleController(nodes, client, p, seconds(c.settings.NodeMonitorPeriodSeconds))
			return func(ctx context.Context) { n.Run(ctx, metrics) }, err
		}},
		{serviceController, unless(hasBalancers, "the provider has no load balancers"), func() (func(context.Context), error) {
			s, err := service.New(p, client, shared.Core().V1().Services(), nodes, c.settings.ClusterName, utilfeature.DefaultFeatureGate)
			return func(ctx context.Context) { s.Run(ctx, c.settings.ConcurrentServices, metrics) }, err
		}},
		{routeController, noRoutes, func() (func(context.Context), error) {
			cidrs, err := c.settings.cidrs()
			if err != nil {
				return nil, err
			}
			r, err := route.New(routes, client, nodes, c.settings.ClusterName, cidrs)
			return func(ctx context.Context) { r.Run(ctx, seconds(c.settings.RoutePeriodSeconds), metrics) }, err
		}},
	}
}
