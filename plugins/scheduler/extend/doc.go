// Package extend lets other plugins have a say in scheduling: it knows which there are and
// which pods concern them, and asks them about nodes. What is made of the answers is the
// scheduler's affair, of which this package knows only the snapshot.
package extend
