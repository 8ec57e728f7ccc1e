// Package controlplane wires a server: store, registry, authentication, API server and
// plugin host. It decides nothing; every part is configured and joined here.
package controlplane
