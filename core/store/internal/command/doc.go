// Package command is the format of the store's Raft log entries: what the proposer asks
// the state machine to do. The format is written down in core/store/DESIGN.md.
//
// It must not know Raft, Badger or what the bytes of an object mean.
package command
