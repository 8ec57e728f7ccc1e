// Package cloud is Pintle's cloud plugin: the controllers of a cloud-controller-manager, with a
// plugin that offers the point "cloud" as the provider. It initializes nodes, deletes those
// whose machine is gone, keeps load balancers for Services and routes for pods.
//
// The controllers are those of k8s.io/cloud-provider, so that providers find what they were
// written for. This package finds the provider among the plugins, and makes its answers those
// of a cloudprovider.Interface.
//
// It must not know any cloud, nor the core: it speaks the Kubernetes API.
package cloud
