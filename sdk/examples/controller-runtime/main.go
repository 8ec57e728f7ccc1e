// Command sites is a project written with controller-runtime that runs as a plugin. Its types,
// reconcilers and webhooks are as they are in an operator of its own (cmd/manager); only this
// file differs.
package main

import (
	"embed"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/pintle-dev/pintle/sdk/controllerruntime"
	"github.com/pintle-dev/pintle/sdk/plugin"

	sitesv1 "example.dev/sites/api/v1"
	"example.dev/sites/internal/setup"
)

//go:embed config/crd/bases/*.yaml
var crds embed.FS

//go:embed plugin.yaml
var manifest []byte

//go:embed config/webhook/manifests.yaml
var webhooks []byte

func main() { controllerruntime.Serve(project()) }

// project is what an operator's main would give to a manager.
func project() controllerruntime.Project {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(sitesv1.AddToScheme(scheme))
	return controllerruntime.Project{
		Info:     plugin.MustInfoFrom(manifest),
		CRDs:     crds,
		Webhooks: webhooks,
		Options:  ctrl.Options{Scheme: scheme},
		Setup:    setup.All,
	}
}
