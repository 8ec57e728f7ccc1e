// Package index is the ordered set of live objects in memory: for every bucket a
// copy-on-write B-tree from key to the object's revision and, as far as the byte budget
// goes, its bytes. Guards are checked against it and newest reads are served from it.
//
// It must not know Raft, Badger or what objects mean. One goroutine installs changes;
// any number read.
package index
