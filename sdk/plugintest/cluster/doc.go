// Package cluster starts a control plane in the process of a test, in less time than a test
// takes to be noticed: the store, the API server with the Kubernetes kinds, custom resources,
// admission and, where wanted, RBAC and the controllers of Kubernetes' own kinds. The plugins
// under test are run by the plugin host, over gRPC.
//
//	func TestReconcile(t *testing.T) {
//		p := widget.New()
//		c := cluster.Start(t, cluster.Options{Plugins: []cluster.Plugin{{Impl: p}}})
//		client, err := dynamic.NewForConfig(c.Config)
//		…
//	}
//
// Config is for every client there is: client-go, controller-runtime, kubectl by a kubeconfig.
// Suites that use envtest keep it, with this cluster in place of etcd and kube-apiserver:
//
//	env := &envtest.Environment{
//		UseExistingCluster: ptr.To(true), Config: cluster.Start(t, cluster.Options{}).Config,
//		CRDDirectoryPaths:  []string{"config/crd/bases"},
//	}
//
// There are no nodes, so no pod ever runs.
//
// This is the one package of the SDK that has the core in it. It is for tests only: a plugin
// does not link it, and it must not show types of the core, which a plugin does not have.
package cluster
