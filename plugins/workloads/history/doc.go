// Package history keeps what templates an object has had, as ControllerRevisions: which
// there are, whether one is the present template, and the number and name of the next.
//
// StatefulSets and DaemonSets share it. It must not know what they do with a revision.
package history
