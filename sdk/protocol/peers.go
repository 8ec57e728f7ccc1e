package protocol

import "strings"

// Metadata of calls from plugin to plugin.
const (
	// PeerTokenKey says who calls.
	PeerTokenKey = "pintle-token"
	// PeerNameKey names the plugin that is called.
	PeerNameKey = "pintle-peer"
)

// servicePrefix begins the full name of a service of the contract.
const servicePrefix = "pintle.plugin.v1."

// Methods of Base by which one plugin may ask who another is.
const (
	baseInfo         = "/" + servicePrefix + "Base/Info"
	baseConfigSchema = "/" + servicePrefix + "Base/ConfigSchema"
)

// Introduces reports whether a method only tells who a plugin is.
func Introduces(method string) bool { return method == baseInfo || method == baseConfigSchema }

// Serves reports whether a full method name, "/pintle.plugin.v1.KeyManager/Wrap", belongs to an
// extension point: a point's service is named as the point is, in whatever case.
func Serves(p Point, method string) bool {
	service, ok := strings.CutPrefix(method, "/"+servicePrefix)
	if !ok {
		return false
	}
	service, _, ok = strings.Cut(service, "/")
	return ok && strings.EqualFold(service, string(p))
}
