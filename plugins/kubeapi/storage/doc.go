// Package storage has the types of storage.k8s.io: classes, drivers and attachments of
// volumes.
//
// It must know nothing of how volumes are made and mounted.
package storage
