// Package schemas holds the schemas of the Kubernetes types, generated from k8s.io/api,
// as compressed data that is read when first needed: one file of components and one of
// descriptions for each group and version.
//
// It must know nothing of hooks, columns or names of resources.
package schemas
