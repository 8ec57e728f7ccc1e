// Package workloads is Pintle's controllers plugin: Deployments, ReplicaSets,
// ReplicationControllers, StatefulSets, DaemonSets, Jobs and CronJobs, disruption budgets,
// garbage collection of dependents, deletion of namespaces, default ServiceAccounts, the root
// CA for pods, endpoints of Services, the life cycle of nodes, what becomes of pods whose node
// is gone, and the clearing up of what has served its time. All run in one process over one
// set of informers.
//
// Each controller is a package of its own, where *_reconcile.go decides and
// *_controller.go wires. None knows anything of Pintle's core: they speak the Kubernetes
// API and run against any server of it.
package workloads
