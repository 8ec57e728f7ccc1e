package protocol

import (
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Version is the newest version of the base protocol. A host speaks Version and, once
// there is one, the version before it.
const Version = 1

// PluginName is the key under which go-plugin dispenses a plugin's connection.
const PluginName = "pintle"

// LifelineEnv is set to "stdin" where the host keeps the other end of the plugin's
// standard input open for as long as it lives: its end of file means that the host is
// gone, and the plugin exits.
const LifelineEnv = "PINTLE_PLUGIN_LIFELINE"

// MaxMessageBytes bounds one gRPC message in either direction. What one message can cost its
// receiver is a multiple of it.
const MaxMessageBytes = 16 << 20

// Windows of a stream and of a connection: what may be on its way in one direction.
const (
	StreamWindowBytes = 1 << 20
	ConnWindowBytes   = 4 << 20
)

// Handshake makes sure that a plugin is not run by mistake by itself. It is no secret.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   "PINTLE_PLUGIN",
		MagicCookieValue: "b7b0d3c1-a-pin-by-which-a-rudder-plugs-into-a-hull",
	}
}

// Point is the name of an extension point.
type Point = plugin.PointName

// The extension points of this version.
const (
	PointController Point = "controller"
	PointScheduler  Point = "scheduler"
	PointNetwork    Point = "network"
	PointResource   Point = "resource"
	PointKeyManager Point = "keymanager"
	PointScheduling Point = "scheduling"
	PointAPIService Point = "apiservice"
	PointCloud      Point = "cloud"
	PointStorage    Point = "storage"

	PointRuntimeDriver Point = "runtimedriver"
)

// Extension points of the ways that requests take.
const (
	PointAdmission      Point = "admission"
	PointAuthentication Point = "authentication"
	PointAuthorization  Point = "authorization"
)

// PointVersions gives the versions of each point's protocol that this SDK speaks, oldest
// first.
func PointVersions() map[Point][]int32 {
	return map[Point][]int32{
		PointController: {1},
		PointScheduler:  {1},
		PointNetwork:    {1},
		PointResource:   {1},
		PointKeyManager: {1},
		PointScheduling: {1},
		PointAPIService: {1},
		PointCloud:      {1},
		PointStorage:    {1},

		PointRuntimeDriver: {1},

		PointAdmission:      {1},
		PointAuthentication: {1},
		PointAuthorization:  {1},
	}
}

// NewPoint makes a point in the versions that this SDK speaks.
func NewPoint(name Point, register func(grpc.ServiceRegistrar, plugin.Host)) plugin.Point {
	return plugin.Point{Name: name, Versions: PointVersions()[name], Register: register}
}
