package cloud

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Settings of the cloud plugin.
type Settings struct {
	// Provider is the name of the plugin that is asked; empty for the only one with the point
	// "cloud".
	Provider string `json:"provider,omitempty"`
	// ClusterName tells clusters in one cloud apart.
	ClusterName string `json:"clusterName,omitempty"`
	// Disabled names controllers that do not run.
	Disabled []string `json:"disabled,omitempty"`
	// NodeMonitorPeriodSeconds is how often it is looked whether the machines of nodes that
	// are not ready still exist.
	NodeMonitorPeriodSeconds int `json:"nodeMonitorPeriodSeconds,omitempty"`
	// NodeUpdatePeriodSeconds is how often addresses of nodes are asked for.
	NodeUpdatePeriodSeconds int `json:"nodeUpdatePeriodSeconds,omitempty"`
	// ConcurrentServices is how many load balancers are worked on at once.
	ConcurrentServices int `json:"concurrentServices,omitempty"`
	// ClusterCIDRs are the ranges of pods' addresses, at most one of each family. Routes are
	// kept for nodes' pod CIDRs within them; without any, no routes are.
	ClusterCIDRs []string `json:"clusterCIDRs,omitempty"`
	// RoutePeriodSeconds is how often routes are compared.
	RoutePeriodSeconds int `json:"routePeriodSeconds,omitempty"`
}

// The controllers, by the names that cloud-controller-managers know.
const (
	nodeController      = "cloud-node-controller"
	lifecycleController = "cloud-node-lifecycle-controller"
	serviceController   = "service-lb-controller"
	routeController     = "node-route-controller"
)

func controllerNames() []string {
	return []string{nodeController, lifecycleController, serviceController, routeController}
}

func settingsSchema() []byte {
	return []byte(`{
  "type": "object",
  "properties": {
    "provider": {"type": "string", "description": "Plugin that is asked; by default the only one that offers the point cloud."},
    "clusterName": {"type": "string", "minLength": 1, "description": "Tells clusters in one cloud apart."},
    "disabled": {
      "description": "Controllers that do not run.",
      "type": "array",
      "items": {"type": "string", "enum": ["` + strings.Join(controllerNames(), `", "`) + `"]}
    },
    "nodeMonitorPeriodSeconds": {"type": "integer", "minimum": 1, "description": "How often it is looked whether machines still exist."},
    "nodeUpdatePeriodSeconds": {"type": "integer", "minimum": 1, "description": "How often addresses of nodes are asked for."},
    "concurrentServices": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How many load balancers are worked on at once."},
    "clusterCIDRs": {
      "description": "Ranges of pods' addresses, for which routes are kept; at most one of each family.",
      "type": "array", "maxItems": 2, "items": {"type": "string"}
    },
    "routePeriodSeconds": {"type": "integer", "minimum": 1, "description": "How often routes are compared."}
  }
}`)
}

func defaultSettings() Settings {
	return Settings{
		ClusterName: "kubernetes", NodeMonitorPeriodSeconds: 5, NodeUpdatePeriodSeconds: 300, ConcurrentServices: 2, RoutePeriodSeconds: 10,
	}
}

func parseSettings(raw []byte) (Settings, error) {
	s := defaultSettings()
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return s, fmt.Errorf("settings of cloud: %w", err)
	}
	for i, name := range s.Disabled {
		if !slices.Contains(controllerNames(), name) {
			return s, fmt.Errorf("settings of cloud: disabled[%d]: no controller is called %q; there are %v", i, name, controllerNames())
		}
	}
	for field, n := range map[string]int{
		"nodeMonitorPeriodSeconds": s.NodeMonitorPeriodSeconds, "nodeUpdatePeriodSeconds": s.NodeUpdatePeriodSeconds,
		"concurrentServices": s.ConcurrentServices, "routePeriodSeconds": s.RoutePeriodSeconds,
	} {
		if n < 1 {
			return s, fmt.Errorf("settings of cloud: %s: must be at least 1, is %d", field, n)
		}
	}
	_, err := s.cidrs()
	return s, err
}

// cidrs parses ClusterCIDRs.
func (s Settings) cidrs() ([]*net.IPNet, error) {
	var out []*net.IPNet
	for i, text := range s.ClusterCIDRs {
		_, cidr, err := net.ParseCIDR(text)
		if err != nil {
			return nil, fmt.Errorf("settings of cloud: clusterCIDRs[%d]: %w", i, err)
		}
		if slices.ContainsFunc(out, func(o *net.IPNet) bool { return (o.IP.To4() == nil) == (cidr.IP.To4() == nil) }) {
			return nil, fmt.Errorf("settings of cloud: clusterCIDRs[%d]: %s is of the same family as another", i, text)
		}
		out = append(out, cidr)
	}
	return out, nil
}

func (s Settings) enabled(controller string) bool { return !slices.Contains(s.Disabled, controller) }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
