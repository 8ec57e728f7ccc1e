// Package value is the format of one stored object version: a header that remembers where
// the revision stands in the object, then the object exactly as clients are served it; or an
// envelope that others can open, in which the object is without its revision.
//
// It must not know keys, Raft or Badger.
package value
