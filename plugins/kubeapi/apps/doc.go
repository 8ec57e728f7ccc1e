// Package apps has the types of the apps group: Deployment, ReplicaSet, StatefulSet,
// DaemonSet and ControllerRevision, with their hooks and tables.
//
// It must know nothing of the controllers that act on them.
package apps
