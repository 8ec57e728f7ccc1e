// Package check judges a history. Its parts:
//
//   - chain: what all watches delivered, put together, is one order of changes in which each
//     fits to the one before; every change belongs to exactly one operation, and every
//     acknowledged write is there once, as it was answered.
//   - watches: each watch delivered a stretch of that order without gaps, repetitions or
//     bookmarks ahead of events.
//   - reads: what was asked for at a revision, or without freshness, is the state at that
//     revision.
//   - order: no operation contradicts another that ended before it began (with the reason in
//     words), and porcupine finds an order for all of them (the proof).
//
// The order of changes is known from the watches, so porcupine does not search for it:
// histories of ten thousand operations take seconds. It knows nothing of servers.
package check
