// Package others has the types of the groups that have little behaviour of their own on
// the write path: coordination, discovery, events, batch, autoscaling, policy, networking,
// node, scheduling, certificates, admissionregistration.
// A group that grows moves out to a package of its own.
//
// It must know nothing of the controllers that act on them.
package others
