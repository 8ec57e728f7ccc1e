package controlplane

import (
	"context"
	"crypto/tls"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/crd/registry"
)

// newAggregator lets other servers take part in the API.
func (s *Server) newAggregator(reg *registry.Registry) *aggregation.Aggregator {
	return aggregation.New(aggregation.Config{
		Store: s.store, Types: reg, Priority: priority, Logger: s.log,
		ClientCertificate: func() (tls.Certificate, error) {
			proxy, err := s.authority.FrontProxy()
			if err != nil {
				return tls.Certificate{}, err
			}
			return proxy.Client.TLS(), nil
		},
		Synced:  func(ctx context.Context) error { return s.types.Synced(ctx) },
		Leading: func() bool { leads, _ := s.store.Leadership(); return leads },
	})
}

// groupPriorities are those that kube-apiserver gives its groups: clients show them in this
// order, and take a short name from the first that has it.
var groupPriorities = map[string]int32{
	"": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
	"authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300,
	"networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
	"apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
	"coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200, "resource.k8s.io": 16200,
	"flowcontrol.apiserver.k8s.io": 16100, "storagemigration.k8s.io": 15900, "apiregistration.k8s.io": 20000,
}

// versionPriorities are those that differ from 15.
var versionPriorities = map[schema.GroupVersion]int32{
	{Version: "v1"}:                                        1,
	{Group: "autoscaling", Version: "v2"}:                  30,
	{Group: "resource.k8s.io", Version: "v1"}:              21,
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: 21,
	{Group: "apiregistration.k8s.io", Version: "v1"}:       100,
}

// priority of a group version that this server serves. Types that were added stand behind
// those of Kubernetes.
func priority(gv schema.GroupVersion) aggregation.Priority {
	group, ok := groupPriorities[gv.Group]
	if !ok {
		return aggregation.Priority{Group: 1000, Version: 100}
	}
	version, ok := versionPriorities[gv]
	if !ok {
		version = 15
	}
	return aggregation.Priority{Group: group, Version: version}
}
