// Package raftlog opens the logs that core/store could keep Raft's entries in, behind the
// interfaces that Raft uses, and puts the store's load on one: concurrent writes gathered
// into entries as core/store's proposer gathers them, and a log that is cut behind
// snapshots. Its state machine does nothing, so that what is measured is the log.
package raftlog
