package controlplane

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/apiservice"
)

// offerAPIService takes what a plugin serves itself; nothing takes it back.
func (s *Server) offerAPIService(name string, served []apiservice.GroupVersion, plugin host.APIService) error {
	s.log.Info("group versions that a plugin serves", "plugin", name, "served", served)
	offered := make([]aggregation.Offered, 0, len(served))
	for _, gv := range served {
		offered = append(offered, aggregation.Offered{
			GroupVersion: schema.GroupVersion{Group: gv.Group, Version: gv.Version},
			Priority:     aggregation.Priority{Group: gv.GroupPriority, Version: gv.VersionPriority},
		})
	}
	return s.aggregator.SetPlugin(name, offered, plugin)
}
