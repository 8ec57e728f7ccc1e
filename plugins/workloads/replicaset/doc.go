// Package replicaset keeps as many pods as each ReplicaSet asks for: it makes what is
// missing, deletes what is too much (least useful first), adopts pods that match and
// have no controller, and reports the count in the status.
package replicaset
