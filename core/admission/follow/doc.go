// Package follow keeps what is compiled from stored objects up to date: it reads a bucket of
// the store, follows its log, and lets writers of the bucket wait until what they wrote has
// been taken over, so that a client's next request meets it.
//
// It must not know what the objects are.
package follow
