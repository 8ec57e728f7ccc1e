// Package schedule writes backups by themselves: when a schedule says so, on the server that
// leads, and removes the old ones that nobody wants any more.
//
// What was done is read from where the backups are, so that a leader goes on where another
// ended and no server keeps a state of its own. It must not know what is in a backup.
package schedule
