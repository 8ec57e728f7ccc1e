// Package confine starts a plugin's process so that it can do no harm: as a user of its own,
// without privileges, in a cgroup with limits, in namespaces of its own (processes, mounts,
// network, IPC), with a read-only view of the file system in which it sees of its host's files
// only what it was given.
//
// A guest may be given files of the machine: they are mounted into its view with its user in
// the place of their owner, so that nobody else can read more than before. Few privileges can
// be given, too. What it may write is bounded: temporary directories are memory of its own,
// and what it keeps on the disk is measured (Cell.Disk), as not every file system has quotas. A
// filter refuses system calls that no plugin has a use for.
//
// Each guest is started by an OS thread of its own, a Cell, that takes the confinement upon
// itself first: a process inherits it from the thread that forks it. So nothing of this needs
// a second program between the host and the plugin, and the parent-death signal stays tied
// to a thread that lives as long as the plugin does.
//
// What the kernel or the host's rights don't allow is left out and said in the Report; Landlock
// takes the place of namespaces where the host is not root. The package must not know what a
// plugin is for, nor how it is talked to.
package confine
