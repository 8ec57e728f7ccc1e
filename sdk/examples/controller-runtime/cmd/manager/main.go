// Command manager runs the project as an operator of its own, as before it was a plugin: with
// leader election, a webhook server, its certificates and a deployment of its own.
package main

import (
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	sitesv1 "example.dev/sites/api/v1"
	"example.dev/sites/internal/setup"
)

func main() {
	metrics := flag.String("metrics-bind-address", ":8080", "where metrics are served")
	probes := flag.String("health-probe-bind-address", ":8081", "where probes are answered")
	elect := flag.Bool("leader-elect", false, "elect a leader")
	certs := flag.String("webhook-cert-path", "", "the folder of the webhook server's certificate")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*metrics, *probes, *certs, *elect); err != nil {
		ctrl.Log.Error(err, "the manager has ended")
		os.Exit(1)
	}
}

func run(metrics, probes, certs string, elect bool) error {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(sitesv1.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                 scheme,
		Metrics:                metricsserver.Options{BindAddress: metrics},
		HealthProbeBindAddress: probes,
		WebhookServer:          webhook.NewServer(webhook.Options{CertDir: certs}),
		LeaderElection:         elect,
		LeaderElectionID:       "sites.example.dev",
	})
	if err != nil {
		return err
	}
	if err := setup.All(mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}
