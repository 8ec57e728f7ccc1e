// Package snapshot is the raft.SnapshotStore of a state machine whose state is durable by
// itself: a snapshot taken here is a small file of metadata, and its content is streamed
// out of the state when a follower asks for it. A snapshot received from a leader is a
// file until the state has absorbed it.
//
// It must not know what a state consists of.
package snapshot
