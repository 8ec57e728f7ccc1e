package serviceproxy

import (
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Settings of the plugin; the JSON form is what a configuration's plugins[].settings holds.
type Settings struct {
	// TableName is the nftables table that holds the services of the cluster. Clusters that
	// share a machine need one each.
	TableName string `json:"tableName"`
	// IPFamilies that services are made to work for; one table each.
	IPFamilies []corev1.IPFamily `json:"ipFamilies"`
}

const settingsSchema = `{
  "type": "object",
  "properties": {
    "tableName": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z][A-Za-z0-9_.-]*$", "description": "nftables table that holds the services; clusters that share a machine need one each.", "default": "pintle-services"},
    "ipFamilies": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "enum": ["IPv4", "IPv6"]}, "description": "Address families that services are made to work for."}
  }
}`

var tableNamePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,62}$`)

func defaultSettings() Settings {
	return Settings{TableName: "pintle-services", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}
}

func parseSettings(raw []byte) (Settings, error) {
	s := defaultSettings()
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if !tableNamePattern.MatchString(s.TableName) {
		return s, fmt.Errorf("settings.tableName: %q is not a name for a table (a letter, then letters, digits, '_', '.' or '-', at most 63 in all)", s.TableName)
	}
	if len(s.IPFamilies) == 0 {
		return s, fmt.Errorf("settings.ipFamilies: must name at least one of IPv4 and IPv6")
	}
	for i, f := range s.IPFamilies {
		if f != corev1.IPv4Protocol && f != corev1.IPv6Protocol {
			return s, fmt.Errorf("settings.ipFamilies[%d]: %q is neither IPv4 nor IPv6", i, f)
		}
		if slices.Contains(s.IPFamilies[:i], f) {
			return s, fmt.Errorf("settings.ipFamilies[%d]: %s is named twice", i, f)
		}
	}
	return s, nil
}

func nftFamily(f corev1.IPFamily) knftables.Family {
	if f == corev1.IPv6Protocol {
		return knftables.IPv6Family
	}
	return knftables.IPv4Family
}
