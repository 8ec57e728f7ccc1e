// Package storage is the extension point for storage: a plugin that makes volumes for claims,
// attaches them to nodes and mounts them for pods. Its calls and words are those of CSI, so that a
// CSI driver can stand behind it.
//
// A volume of a storage is a PersistentVolume whose spec.csi.driver is the storage's name; a
// StorageClass whose provisioner is that name has volumes made. The plugin "storage" of the
// cluster asks for volumes and attachments; the agent of a node asks the storage on its own node
// for mounts. So one that has both runs twice: beside the servers, and on every node.
//
// It must not know any storage, nor who asks.
package storage
