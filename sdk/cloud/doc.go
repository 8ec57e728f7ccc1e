// Package cloud is the extension point for cloud providers: a plugin that tells what machines
// there are behind the nodes, makes load balancers for Services, and routes for pods. The plugin
// "cloud" of the cluster asks it and does what a cloud-controller-manager does with the answers.
//
// A provider that exists for k8s.io/cloud-provider becomes such a plugin by package
// sdk/cloud/provider.
//
// It must not know any cloud, nor who asks.
package cloud
