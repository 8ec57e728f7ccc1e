// Package cache is the scheduler's snapshot of the cluster: nodes with what their pods
// take of them, kept by deltas. Each change is noted in a log, so that whoever derives
// something from nodes can catch up by looking at the changed ones only.
//
// It must not know how a node is chosen. It is not safe for concurrent use: its owner
// holds a lock.
package cache
