// Package runtimedriver is the extension point for container runtimes: a plugin that runs the
// containers of a node's pods. The node agent decides what is to run, when it is started again and
// what a pod's status says; a driver does as it is told and reports what it sees. The calls have
// the shape of the Container Runtime Interface: sandboxes that hold what the containers of a pod
// share, containers in them, images, streams and events.
//
// What a driver runs outlives the driver: when its process ends, containers go on, and the next one
// lists them. It must not know of pods as API objects, of restart policies, probes or status.
package runtimedriver
