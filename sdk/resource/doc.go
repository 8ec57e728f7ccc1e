// Package resource is the extension point for resource types: a plugin offers
// definitions as data and, where a kind has logic of its own, hooks on its write path.
//
// Definitions are values of Go, or come from CustomResourceDefinitions as YAML: see [FromCRD].
//
// The same implementation runs linked into the core (placement "builtin") or in a process
// of its own behind gRPC (placement "process").
package resource
