// Package fit chooses a node for a pod: which nodes can take it, and which of them is
// best. It reads a snapshot and changes nothing.
//
// Pods that ask the same of a node form a class. For each class that is in use the nodes
// are kept in a heap by score, brought up to date from the snapshot's log of changes, so
// that the next pod of a class costs the re-evaluation of the few nodes that changed
// since the last and still gets the best of all nodes. Pods whose fit depends on other
// pods (affinity, topology spread, host ports) are matched against the nodes one by one.
//
// It must not know about queues, bindings or the API server.
package fit
