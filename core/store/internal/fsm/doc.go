// Package fsm is the state machine: it turns the entries of the Raft log into changes of
// the state, on every server in the same way. Whatever could differ between servers (the
// time, a random number, the order of a map) has no place here; a test of the package
// looks for it. What varies is decided by the proposer and carried in the entry.
//
// It must not know how entries were agreed on or who reads the state.
package fsm
