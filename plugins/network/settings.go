package network

import (
	"fmt"
	"net/netip"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Settings of the plugin; the JSON form is what a configuration's plugins[].settings holds.
type Settings struct {
	// ClusterCIDR is the range that nodes' pod ranges are taken from.
	ClusterCIDR string `json:"clusterCIDR"`
	// NodeMaskSize is the prefix length of one node's range.
	NodeMaskSize int `json:"nodeMaskSize"`
	// Bridge is the name of the link that pods of the node are attached to.
	Bridge string `json:"bridge"`
	// MTU of the pods' links in bytes; 0 leaves it to the kernel.
	MTU int `json:"mtu"`
	// Masquerade rewrites the source of traffic that leaves ClusterCIDR.
	Masquerade bool `json:"masquerade"`
	// CNIBinDirs are searched for the bridge, host-local and loopback plugins.
	CNIBinDirs []string `json:"cniBinDirs"`
}

const settingsSchema = `{
  "type": "object",
  "properties": {
    "clusterCIDR": {"type": "string", "description": "Range that nodes' pod ranges are taken from.", "default": "10.244.0.0/16"},
    "nodeMaskSize": {"type": "integer", "minimum": 8, "maximum": 30, "description": "Prefix length of one node's range.", "default": 24},
    "bridge": {"type": "string", "minLength": 1, "maxLength": 15, "description": "Link that the node's pods are attached to.", "default": "pintle0"},
    "mtu": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "MTU of the pods' links; 0 leaves it to the kernel.", "default": 0},
    "masquerade": {"type": "boolean", "description": "Rewrite the source of traffic that leaves clusterCIDR.", "default": true},
    "cniBinDirs": {"type": "array", "items": {"type": "string"}, "description": "Folders searched for the CNI plugins bridge, host-local and loopback."}
  }
}`

func defaultSettings() Settings {
	return Settings{
		ClusterCIDR:  "10.244.0.0/16",
		NodeMaskSize: 24,
		Bridge:       "pintle0",
		Masquerade:   true,
		CNIBinDirs:   []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"},
	}
}

func parseSettings(raw []byte) (Settings, error) {
	s := defaultSettings()
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	cidr, err := netip.ParsePrefix(s.ClusterCIDR)
	if err != nil {
		return s, fmt.Errorf("settings.clusterCIDR: %w", err)
	}
	if !cidr.Addr().Is4() {
		return s, fmt.Errorf("settings.clusterCIDR: %s is not an IPv4 range", s.ClusterCIDR)
	}
	if cidr.Masked() != cidr {
		return s, fmt.Errorf("settings.clusterCIDR: %s has host bits set, did you mean %s?", s.ClusterCIDR, cidr.Masked())
	}
	if s.NodeMaskSize < cidr.Bits() || s.NodeMaskSize > 30 {
		return s, fmt.Errorf("settings.nodeMaskSize: must be between %d (the length of clusterCIDR) and 30, got %d", cidr.Bits(), s.NodeMaskSize)
	}
	if s.Bridge == "" || len(s.Bridge) > 15 {
		return s, fmt.Errorf("settings.bridge: %q is not a link name (1 to 15 characters)", s.Bridge)
	}
	if len(s.CNIBinDirs) == 0 {
		return s, fmt.Errorf("settings.cniBinDirs: must name at least one folder")
	}
	return s, nil
}
