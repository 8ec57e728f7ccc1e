// Package store is the replicated, versioned store: commands go through one Raft group
// and are applied to Badger, whose commit timestamp is the revision that clients see as
// resourceVersion.
//
// It knows keys, bytes and revisions. It must not know kinds, schemas or HTTP.
package store
