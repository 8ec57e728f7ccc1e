// Package containerd drives containerd through its Go client.
//
// There is no pause container where none is needed: a sandbox is a directory with a
// record and with the pod's namespaces (network, IPC, UTS) pinned in it by bind mounts,
// which every container of the pod joins. Only a pod that shares one process namespace
// gets a pause process, because the kernel ends a process namespace with its first process.
//
// Containers are containerd tasks under shims of their own. Their output goes through
// FIFOs that the shim holds open at both ends, so that nothing is lost and nothing is
// stopped while the agent is away: a container that writes more than a FIFO holds waits
// for the agent to come back, as it does with containerd's CRI plugin.
//
// What the driver must remember stands in small files beside the namespaces, one per
// sandbox and one per container; New reads them and takes running tasks over.
//
// The package knows nothing of pods as API objects.
package containerd
