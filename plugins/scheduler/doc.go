// Package scheduler is Pintle's scheduler plugin: it watches pods without a node, chooses
// a node for each and binds them.
//
// It works on a snapshot of its own that is kept by deltas (package cache), takes pods
// from a queue ordered by priority (package queue), decides with pure functions over the
// snapshot (package fit) and binds with many requests in flight. It must know nothing of
// Pintle's core: it speaks the Kubernetes API and runs against any server of it.
package scheduler
