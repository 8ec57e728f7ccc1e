// Package pluginv1 is the wire contract between the host and a plugin process, version 1,
// as generated from the .proto files beside it. Authors of plugins in Go need not look
// here: package serve speaks it for them. It knows nothing of how plugins are launched.
package pluginv1

//go:generate ../../generate.sh plugin/v1
