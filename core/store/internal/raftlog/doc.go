// Package raftlog keeps Raft's log and Raft's own variables on disk. The log is raft-wal's;
// what that library takes on trust is checked here: every batch of every segment at a start,
// every entry when it is read, and that the log does not end before what has been acknowledged
// of it. Raft's variables and the list of segments are kept twice, each copy with a checksum.
// The newest entries are kept in memory too, within a number of bytes.
//
// It must not know what entries mean.
package raftlog
