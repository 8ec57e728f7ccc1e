// Package backup writes the state of a cluster into one file and makes a data directory of such
// a file again: its format, what goes into it, the API that streams it, the schedule on which a
// leader writes it, and which of the written are kept.
//
// It knows the store's streams and file names, and where backups are kept through an interface
// (package target has a directory and S3). It must not know kinds of objects.
package backup
