// Package stream serves the kubelet's API: logs, exec, attach, port-forward, and a few
// pages about the node. API servers proxy people's requests to it; nobody else is let in.
//
// It knows the protocols (SPDY and WebSocket, by the library of the CRI) and nothing of
// how pods are run: that is behind Backend and driver.Streams.
package stream
