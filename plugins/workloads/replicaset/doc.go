// Package replicaset keeps as many pods as each ReplicaSet asks for. How, package
// replicas knows.
package replicaset
