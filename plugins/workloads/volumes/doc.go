// Package volumes gives claims their volumes: it binds PersistentVolumeClaims to
// PersistentVolumes that are there, has plugins of the point storage make those that are not,
// makes them larger and removes them, attaches them to the nodes of their pods, and makes claims
// for ephemeral volumes.
//
// As long as there are no claims and volumes, nothing of it runs but two handlers of informers that
// the protection of claims needs too: classes, attachments and plugins are looked for when the
// first claim asks for it.
//
// It must not know any storage, nor how volumes are mounted.
package volumes
