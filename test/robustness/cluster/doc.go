// Package cluster runs real Pintle servers for tests of robustness: each is a process of its
// own in a network namespace of its own, on a disk that can lose what was not synced, and
// can be killed, stopped, cut off, damaged and replaced. Nothing of the machine's own
// network or mounts is touched, and all of it ends with the test's process.
//
// It knows the command line, the configuration and how to reach the API, and nothing of
// what the traffic means.
package cluster
