// Package daemonset keeps one pod of each DaemonSet on every node that is meant to have
// one, and brings the pods to a new template a few nodes at a time.
package daemonset
