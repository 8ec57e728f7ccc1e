// Package kubeapi offers the Kubernetes resource types of v1.36: their schemas as data
// (package schemas, generated from k8s.io/api), their names, columns and selectable
// fields as data (one package per group), and the hooks that say what a Kubernetes kind
// does beside its data: defaults that depend on other fields, fields owned by the system,
// validation with upstream's paths and reasons, graceful deletion, subresources, printing.
//
// It must know nothing of storage, HTTP, admission order or other plugins: it sees one
// request at a time through sdk/resource, and other objects through its Reader.
package kubeapi

//go:generate go run ./internal/gen
