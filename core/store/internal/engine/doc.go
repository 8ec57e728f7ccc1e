// Package engine keeps the state on disk: Badger in managed mode, where the version of a
// key is the revision of the write. It owns the state directory: its lock, the switch to
// a new state after a snapshot, and what may be trusted after a crash.
// Values are packed one by one with a dictionary of what objects usually consist of; who reads
// gets them as they came.
//
// It must not know Raft, nor decide anything: the state machine tells it what to keep.
package engine
