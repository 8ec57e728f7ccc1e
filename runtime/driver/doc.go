// Package driver says what the node agent asks of a container runtime. Its interfaces
// have the shape of the Container Runtime Interface: sandboxes that hold what the
// containers of a pod share, containers in them, images, streams and events.
//
// The package knows nothing of pods as API objects, of restart policies, probes or
// status: a driver does as it is told and reports what it sees.
package driver
