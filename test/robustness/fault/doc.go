// Package fault does to the servers of a cluster what machines, networks, disks and operators
// do, as the numbers of a seed say. Every fault ends what it began, and says whether the
// servers came back; it knows nothing of traffic and of how a run is judged.
package fault
