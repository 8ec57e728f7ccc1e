// Package replicationcontroller keeps as many pods as each ReplicationController asks
// for. It shows them to package replicas, which knows how, as ReplicaSets.
package replicationcontroller
