// Package inprocess runs an API server of all Kubernetes types and of custom resources in the
// process of a test, without the nodes that a cluster has: Start one whose access and
// admission are the test's, StartCore a whole control plane, as plugins' authors have it by
// sdk/plugintest/cluster. Servers in processes of their own are of test/process; servers of a
// test's own types are of core/apiserver/apiservertest.
package inprocess

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
)

// Server is an API server that listens.
type Server struct {
	*apiservertest.Server
	// Config is for clients of the server, without a limit to their requests.
	Config *rest.Config
}

// Start starts a server, which ends with the test. cfg is what it has beyond the types, such
// as its users and its admission; apiservertest.New says what stands for the rest.
func Start(tb testing.TB, cfg apiserver.Config, types kubeapi.Options) *Server {
	tb.Helper()
	if cfg.Store == nil {
		cfg.Store = storetest.Open(tb)
	}
	if cfg.Registry == nil {
		cfg.Registry = registry.New()
	}
	typed(&cfg)
	s := apiservertest.Start(tb, cfg, kubeapi.New(types), customresources.Bundle())
	definitions := customresources.New(customresources.Config{Store: cfg.Store, Registry: cfg.Registry, Purger: s.API})
	apiservertest.Run(tb, definitions.Run)
	return &Server{s, &rest.Config{Host: s.URL, QPS: -1}}
}

// Namespace makes a namespace with its account, which a controller makes in a cluster.
func Namespace(tb testing.TB, client kubernetes.Interface, name string, labels map[string]string) {
	tb.Helper()
	core := client.CoreV1()
	if _, err := core.Namespaces().Create(tb.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
	no := false
	account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}, AutomountServiceAccountToken: &no}
	if _, err := core.ServiceAccounts(name).Create(tb.Context(), account, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
}
