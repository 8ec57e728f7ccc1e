// Package garbage deletes objects whose owners are gone. It keeps a graph of who owns
// whom over all resources that can be watched and deleted, those of custom types as they
// appear, and carries out the three ways of deleting an owner: in the background,
// in the foreground (dependents first) and leaving the dependents as orphans.
//
// The graph holds names and references only, never whole objects. It must not know any
// kind of object.
package garbage
