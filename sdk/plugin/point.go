package plugin

import (
	"log/slog"

	"google.golang.org/grpc"
)

// PointName is the name of an extension point, such as "controller".
type PointName string

// Point is one extension point that a plugin offers. It is made by the point's own package
// from the plugin's implementation (controller.Point, resource.Point), so that the compiler
// checks what the host will rely on, and a build has only the points that it uses.
type Point struct {
	Name PointName
	// Versions of the point's protocol that are spoken, oldest first.
	Versions []int32
	// Capabilities are optional powers within the point. A host refuses a plugin for those
	// it does not know where they are marked with a leading "!".
	Capabilities []string
	// Register puts the point's service on a gRPC server.
	Register func(grpc.ServiceRegistrar, Host)
}

// Host is what a point is given of the process that serves it.
type Host struct {
	// Info is the plugin's.
	Info func() Info
	// Log goes to the host.
	Log *slog.Logger
}
