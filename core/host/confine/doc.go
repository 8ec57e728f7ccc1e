// Package confine starts a plugin's process so that it can do no harm: as a user of its own,
// without privileges, in a cgroup with limits, in namespaces of its own (processes, mounts,
// network, IPC), with a read-only view of the file system in which it sees of its host's files
// only what it was given.
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
